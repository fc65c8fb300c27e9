"""Lanes of a pool: concurrent encoder runs, the threads of each, and the steps they run."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from mms_engine.asr.pool.pooled_stream import PooledStream
from mms_engine.asr.pool.schedule import Schedule
from mms_engine.asr.pool.steps import (
    Ready,
    Windows,
    WithRow,
    as_error,
    begin,
    complete,
    decide,
    with_row,
)
from mms_engine.asr.streaming.language import LanguageFinder
from mms_engine.asr.streaming.model import StreamingModel
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.encoder.interface import StepOutput
from mms_engine.types import Float32Array

_PARAMETERS_PER_THREAD = 100_000_000
"""Encoder parameters per thread: 1 s of audio (50 frames) is then 10 GFLOP per thread, 0.1 to
0.2 s on one core."""
_In = TypeVar("_In", bound=Ready | Windows)
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Lanes:
    """Concurrent encoder runs."""

    count: int
    threads: int | None
    """Threads per run; `None` for all threads of the recogniser."""


def plan_lanes(architecture: Wav2Vec2, device: str, cores: int, wanted: int = 0) -> Lanes:
    """Divide cores among as many concurrent runs as leave each step short.

    Threads synchronise at every operation of a graph: on the demo, two threads take a quarter more
    CPU time for a step than one. A small encoder therefore gets one thread per run, a large one as
    many as keep a step shorter than a chunk.

    Args:
        architecture: Sizes of the encoder.
        device: Device of the encoder; a GPU has one lane.
        cores: Usable cores.
        wanted: Number of lanes, at most `cores`; 0 for the device's default.
    """
    if device != "cpu" or cores == 1:
        return Lanes(1, None)
    needed = min(cores, -(-_layer_parameters(architecture) // _PARAMETERS_PER_THREAD))
    count = min(wanted, cores) or cores // needed
    return Lanes(count, cores // count if count > 1 else None)


def _layer_parameters(architecture: Wav2Vec2) -> int:
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    return architecture.num_hidden_layers * hidden * (4 * hidden + 2 * inner)


class Lane:
    """Lane of a pool, run by one thread.

    It takes due streams from the schedule, runs their steps as one batch, and has the logits
    decoded by a pool of threads. Windows are classified after the steps, whose text is waited for.
    """

    def __init__(
        self,
        schedule: Schedule[PooledStream],
        model: StreamingModel,
        finder: LanguageFinder | None,
        decode_threads: ThreadPoolExecutor,
        rows: int,
    ) -> None:
        """Use the schedule and the models of a pool; `rows` streams are taken at most."""
        self._schedule = schedule
        self._model = model
        self._finder = finder
        self._decode_threads = decode_threads
        self._rows = rows

    def run(self) -> None:
        """Run steps until the schedule is closed."""
        while (streams := self._schedule.take(self._rows)) is not None:
            steps = [step for stream in streams if (step := begin(stream)) is not None]
            windows = [one for one in steps if isinstance(one, Windows)]
            self._run_steps([one for one in steps if isinstance(one, Ready)])
            held = {one.stream for one in windows}
            self._schedule.done([stream for stream in streams if stream not in held])
            for one, logits in self._batched(windows, self._classify):
                decide(one, logits)
            self._schedule.done(held)

    def _run_steps(self, ready: Sequence[Ready]) -> None:
        with_features = self._batched(ready, self._features)
        rows = [row for one in with_features if (row := with_row(*one)) is not None]
        outputs = self._batched(rows, self._encode)
        list(self._decode_threads.map(complete, outputs))

    def _classify(self, steps: Sequence[Windows]) -> list[list[Float32Array]]:
        if self._finder is None:
            raise RuntimeError("a language step without an identification model")
        logits = iter(self._finder.logits([own for one in steps for own in one.step.windows]))
        return [list(itertools.islice(logits, len(one.step.windows))) for one in steps]

    def _features(self, steps: Sequence[Ready]) -> list[Float32Array]:
        return self._model.features([one.step.samples for one in steps])

    def _encode(self, rows: Sequence[WithRow]) -> list[StepOutput]:
        languages = [one.step.language for one in rows]
        return self._model.encode([one.row for one in rows], languages)

    def _batched(
        self, steps: Sequence[_In], function: Callable[[Sequence[_In]], list[_Out]]
    ) -> list[tuple[_In, _Out]]:
        """Pair steps with the results of a function that changes no stream.

        If a batch fails, its steps run alone, and the streams whose step fails are failed.
        """
        if not steps:
            return []
        try:
            return list(zip(steps, function(steps), strict=True))
        except Exception as error:  # noqa: BLE001 (delivered to the stream)
            if len(steps) > 1:
                return [pair for one in steps for pair in self._batched([one], function)]
            steps[0].stream.fail(as_error(error))
            return []
