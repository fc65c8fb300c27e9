"""How many real-time streams a machine can hold: measured, so that others can be refused."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from mms_engine.streaming.contexts import Context, EncoderRow
from mms_engine.streaming.model import StreamingModel
from mms_engine.streaming.options import ContextOptions
from mms_engine.types import Float32Array

_USABLE = 0.8
"""Share of the time that may be taken: the rest is for decoding, and for what else runs."""
_REPEATS = 3
_PATIENCE = 3.0
"""Times a chunk's length from which larger batches are not tried."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What steps of one kind take."""

    chunk_seconds: float
    lanes: int = 1
    """Runs at the same time."""
    seconds: dict[int, float] = field(default_factory=dict)
    """Of such runs, by the streams in each."""

    @property
    def streams(self) -> int:
        """Real-time streams that can be held; 0 where one alone falls behind."""
        budget = self.chunk_seconds * _USABLE
        if self.seconds[1] > budget:  # it has one lane at a time: others are no help
            return 0
        return max(int(self.lanes * n * budget / taken) for n, taken in self.seconds.items())


class Capacity:
    """Measures, once for each kind of context. For several threads at once."""

    def __init__(self, model: StreamingModel, lanes: int, rows: int) -> None:
        """Measure `lanes` runs at the same time, of up to `rows` streams each."""
        self._model = model
        self._lanes = lanes
        self._rows = rows
        self._known: dict[ContextOptions, Measured] = {}
        self._lock = threading.Lock()

    def load(self, options: ContextOptions, language: str) -> float:
        """Return the share of this machine that a stream takes; above 1 where it cannot keep up."""
        streams = self.measured(options, language).streams
        return 1.0 / streams if streams else float("inf")

    def sentence(self, options: ContextOptions) -> str:
        """Say how many streams of a kind, which was measured, this machine holds."""
        known = self._known[options]
        if known.streams:
            return f"this machine holds {known.streams} such streams in real time"
        return (
            f"this machine holds no such stream in real time, a chunk of "
            f"{known.chunk_seconds:g} s takes it {known.seconds[1]:.2f} s"
        )

    def measured(self, options: ContextOptions, language: str) -> Measured:
        """Return what steps take, of noise at the end of a full left context."""
        with self._lock:
            if options not in self._known:
                self._known[options] = self._measure(options, language)
            return self._known[options]

    def _measure(self, options: ContextOptions, language: str) -> Measured:
        context = self._model.context(options)
        try:
            row, samples = self._typical(context, options, language)
            return self._times(row, samples, options, language)
        finally:
            context.release()

    def _times(
        self, row: EncoderRow, samples: Float32Array, options: ContextOptions, language: str
    ) -> Measured:
        found = Measured(options.chunk_seconds, self._lanes)
        for count in (2**power for power in range(self._rows.bit_length())):
            times = [self._time(row, samples, language, count) for _ in range(_REPEATS + 1)]
            found.seconds[count] = float(np.median(times[1:]))
            if found.seconds[count] > _PATIENCE * options.chunk_seconds:
                break
        return found

    def _typical(
        self, context: Context, options: ContextOptions, language: str
    ) -> tuple[EncoderRow, Float32Array]:
        """Return what a step runs on once the left context is full, and its new samples."""
        model, geometry = self._model, self._model.acoustic.geometry
        random = np.random.default_rng(0)
        full = round(options.left_seconds / model.acoustic.frame_seconds)
        while True:
            plan = context.plan(1 << 62, ended=False)
            if plan is None:
                raise RuntimeError("a context needs no more than all audio")
            count = geometry.samples(plan.end - context.featured)
            samples = random.standard_normal(count).astype(np.float32)
            row = context.row(plan, model.features([samples])[0])
            if plan.end >= full:
                return row, samples
            context.read(plan, model.encode([row], [language])[0])

    def _time(self, row: EncoderRow, samples: Float32Array, language: str, count: int) -> float:
        def run(_: int) -> None:
            self._model.features([samples] * count)
            self._model.encode([row] * count, [language] * count)

        with ThreadPoolExecutor(self._lanes) as lanes:
            begin = time.perf_counter()
            list(lanes.map(run, range(self._lanes)))
            return time.perf_counter() - begin
