"""Capacity of a machine: real-time streams it sustains, measured once and kept on disk."""

import hashlib
import logging
import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from mms_engine.asr.streaming.contexts import Context
from mms_engine.asr.streaming.model import StreamingModel
from mms_engine.asr.streaming.options import ContextOptions
from mms_engine.bundle.files import atomic_open
from mms_engine.encoder.interface import StepInput
from mms_engine.errors import BundleError, StreamError
from mms_engine.system import cache_folder, processor_name, usable_cores
from mms_engine.types import Float32Array

logger = logging.getLogger(__name__)

_USABLE = 0.8
"""Share of the time that steps may take; the rest is for decoding and other programs."""
_REPEATS = 3
_PATIENCE = 3.0
"""Stop trying larger batches when a step takes more than this many chunk lengths."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Duration of steps in one kind of context."""

    chunk_seconds: float
    step_seconds: float
    """Audio that a step encodes."""
    lanes: int
    """Concurrent runs."""
    seconds: dict[int, float]
    """Duration of the concurrent runs by the number of streams in each, from 1 on."""

    def __post_init__(self) -> None:
        if 1 not in self.seconds:
            raise ValueError("step times of a single stream are missing")

    @property
    def streams(self) -> int:
        """Real-time streams that the machine sustains; 0 if a single one falls behind."""
        budget = self.chunk_seconds * _USABLE
        if self.seconds[1] > budget:  # a stream uses one lane at a time: others do not help
            return 0
        return max(int(self.lanes * n * budget / taken) for n, taken in self.seconds.items())


class Capacity:
    """Capacity by kind of context. Thread-safe.

    Measured while no stream runs, and kept in a file per machine, bundle, backend and release.
    While streams run, the capacity for an unknown kind is estimated from a known one.
    """

    def __init__(
        self, model: StreamingModel, lanes: int, rows: int, folder: Path | None = None
    ) -> None:
        """Read what was measured before.

        Args:
            model: Streaming model.
            lanes: Concurrent runs.
            rows: Most streams in one run.
            folder: Folder of the results; by default `capacity` in the user's cache folder.
        """
        self._model = model
        self._lanes = lanes
        self._rows = rows
        self._path = (folder or cache_folder() / "capacity") / f"{self._key()}.json"
        self._lock = threading.Lock()
        self._known = self._read()

    def load(self, options: ContextOptions, language: str, *, is_idle: bool) -> float:
        """Return the share of this machine that a stream takes; `inf` if it would fall behind.

        Args:
            options: Context of the stream.
            language: Code of a language to measure with.
            is_idle: Whether no stream runs until this call returns.

        Raises:
            StreamError: streams run, and no kind is known to estimate from.
        """
        with self._lock:
            if is_idle and _name(options) not in self._known:
                self._remember(options, language)
            streams = self._times(options).streams
        return 1.0 / streams if streams else float("inf")

    def describe(self, options: ContextOptions) -> str:
        """Return the capacity for a kind that `load` was called with, as a clause of a message."""
        with self._lock:
            times = self._times(options)
        if times.streams:
            return f"this machine sustains {times.streams} such streams in real time"
        return (
            f"this machine sustains no such stream in real time: a chunk of "
            f"{times.chunk_seconds:g} s takes {times.seconds[1]:.2f} s"
        )

    def measure(self, options: ContextOptions, language: str) -> None:
        """Measure a kind again; no stream may run."""
        with self._lock:
            self._remember(options, language)

    def _times(self, options: ContextOptions) -> StepTimes:
        """Return the step times of a kind: measured, or in proportion to the longest known step."""
        if known := self._known.get(_name(options)):
            return known
        if not self._known:
            raise StreamError("the capacity is unknown while streams run: measure it on idle pools")
        longest = max(self._known.values(), key=lambda times: times.step_seconds)
        ratio = _step_seconds(options) / longest.step_seconds
        scaled = {count: seconds * ratio for count, seconds in longest.seconds.items()}
        return StepTimes(options.chunk_seconds, _step_seconds(options), longest.lanes, scaled)

    def _remember(self, options: ContextOptions, language: str) -> None:
        times = self._measure(options, language)
        self._known = {**self._read(), **self._known, _name(options): times}
        try:
            with atomic_open(self._path) as stream:
                stream.write(msgspec.json.encode(self._known))
        except (BundleError, OSError) as error:
            logger.debug("capacity is not kept on disk: %s", error)

    def _read(self) -> dict[str, StepTimes]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, StepTimes])
        except (OSError, msgspec.MsgspecError, ValueError):
            return {}

    def _key(self) -> str:
        acoustic = self._model.acoustic
        parts = (
            acoustic.bundle.manifest.source.fingerprint,
            acoustic.encoder.variant,
            version("mms-engine"),
            processor_name(),
            platform.machine(),
            usable_cores(),
            self._lanes,
            self._rows,
        )
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]

    def _measure(self, options: ContextOptions, language: str) -> StepTimes:
        context = self._model.context(options)
        try:
            row, samples = self._typical(context, options, language)
            return self._time_batches(row, samples, options, language)
        finally:
            context.release()

    def _time_batches(
        self, row: StepInput, samples: Float32Array, options: ContextOptions, language: str
    ) -> StepTimes:
        seconds: dict[int, float] = {}
        for count in (2**power for power in range(self._rows.bit_length())):
            times = [self._time(row, samples, language, count) for _ in range(_REPEATS + 1)]
            seconds[count] = min(times[1:])  # other programs prolong the rest
            if seconds[count] > _PATIENCE * options.chunk_seconds:
                break
        return StepTimes(options.chunk_seconds, _step_seconds(options), self._lanes, seconds)

    def _typical(
        self, context: Context, options: ContextOptions, language: str
    ) -> tuple[StepInput, Float32Array]:
        """Return the input and the new samples of a step on noise with a full left context."""
        model, geometry = self._model, self._model.acoustic.geometry
        random = np.random.default_rng(0)
        full = round(options.left_seconds / model.acoustic.frame_seconds)
        while True:
            span = context.next_span(1 << 62, ended=False)
            if span is None:
                raise RuntimeError("a context needs no more than all audio")
            count = geometry.samples(span.end - context.featured)
            samples = random.standard_normal(count).astype(np.float32)
            row = context.row(span, model.features([samples])[0])
            if span.end >= full:
                return row, samples
            context.read(span, model.encode([row], [language])[0])

    def _time(self, row: StepInput, samples: Float32Array, language: str, count: int) -> float:
        def run(_: int) -> None:
            self._model.features([samples] * count)
            self._model.encode([row] * count, [language] * count)

        with ThreadPoolExecutor(self._lanes) as lanes:
            begin = time.perf_counter()
            list(lanes.map(run, range(self._lanes)))
            return time.perf_counter() - begin


def _name(options: ContextOptions) -> str:
    sizes = (options.left_seconds, options.chunk_seconds, options.right_seconds)
    return " ".join([options.kind, *(f"{size:g}" for size in sizes)])


def _step_seconds(options: ContextOptions) -> float:
    """Return the audio that a step encodes, in seconds."""
    left = options.left_seconds if options.kind == "window" else 0.0
    return left + options.chunk_seconds + options.right_seconds
