"""Pool of streams over one model: steps that are due run in common batches."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from mms_engine.asr.pool.capacity import Capacity
from mms_engine.asr.pool.lanes import plan_lanes
from mms_engine.asr.pool.pooled_stream import Listener, PooledStream, StreamBounds
from mms_engine.asr.pool.schedule import Schedule
from mms_engine.asr.streaming.core import StreamStep
from mms_engine.asr.streaming.model import StreamingModel, open_core
from mms_engine.asr.streaming.options import StreamOptions
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.decoding.host import HostDecoders
from mms_engine.encoder.interface import StepInput, StepOutput
from mms_engine.errors import BackendError, MmsError, StreamError
from mms_engine.system import usable_cores
from mms_engine.types import Float32Array

_ROUNDING = 1e-9
_In = TypeVar("_In", bound="_Ready")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Bounds of a pool."""

    max_streams: int = 1024
    """Streams that may be open at once."""
    batch_rows: int = 0
    """Most steps in one run; 0 for the device's default: 8 on a CPU, 64 on a GPU."""
    lanes: int = 0
    """Concurrent runs on a CPU, which share its cores; 0 for as many as leave each step enough."""
    pending_seconds: float = 30.0
    """Audio of one stream that may wait; more is refused."""
    unread_events: int = 1000
    """Events of a stream without a listener that may wait; beyond them its audio is refused."""
    admission: bool = True
    """Whether a stream is refused that this machine could not sustain in real time."""
    decode_threads: int = 0
    """Threads that decode logits; 0 for every core this process may use."""

    def __post_init__(self) -> None:
        if min(self.max_streams, self.unread_events) < 1 or self.pending_seconds <= 0:
            raise ValueError(f"a pool needs room for a stream, an event and some audio: {self}")
        if min(self.batch_rows, self.lanes, self.decode_threads) < 0:
            raise ValueError(f"rows, lanes and threads must not be negative (0: default): {self}")


class StreamPool:
    """Streams of any languages that share a model. `Recognizer.pool` makes one.

    May be used from several threads at once; each stream by one at a time.
    """

    def __init__(
        self, model: StreamingModel, decoders: HostDecoders, cores: int, options: PoolOptions
    ) -> None:
        """Begin without streams.

        Args:
            model: The streaming model.
            decoders: Decoders on the host.
            cores: Cores that may be used, on a CPU.
            options: Bounds.
        """
        architecture = model.acoustic.bundle.model(Wav2Vec2)
        lanes = plan_lanes(architecture, model.acoustic.device, cores, options.lanes)
        self._model = model.with_threads(lanes.threads)
        self._rows = options.batch_rows or self._model.rows
        self._decoders = decoders
        self._options = options
        self._capacity = Capacity(self._model, lanes.count, self._rows)
        self._schedule: Schedule[PooledStream] = Schedule(lanes.count)
        self._loads: dict[object, float] = {}
        """Share of the machine of each open stream, and of those being opened."""
        self._streams: set[PooledStream] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        threads = options.decode_threads or usable_cores()
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="mms-decode")
        self._workers = [
            threading.Thread(target=self._work, name=f"mms-streams-{lane}", daemon=True)
            for lane in range(lanes.count)
        ]
        for worker in self._workers:
            worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._streams)

    def open(
        self,
        language: str,
        options: StreamOptions | None = None,
        *,
        listener: Listener | None = None,
        priority: int = 0,
    ) -> PooledStream:
        """Begin a stream. A stream that is refused has allocated nothing.

        Args:
            language: Code.
            options: Options of the stream.
            listener: Called with each event from another thread, one call at a time; must return
                at once. Without one, events wait in the stream.
            priority: Steps of higher priority run first, except before steps ten seconds late.

        Raises:
            StreamError: there is no room, or the machine could not keep up.
            LanguageError, BundleError, LanguageModelError: as for `Recognizer.stream`.
        """
        options = options or StreamOptions()
        self._model.acoustic.bundle.entry(language)
        load = self._load(language, options)
        seat = object()
        with self._lock:
            self._admit(load, options)
            self._loads[seat] = load
        try:
            core = open_core(self._model, self._decoders, language, options)
        except BaseException:
            with self._lock:
                del self._loads[seat]
            raise
        stream = PooledStream(
            core,
            self._schedule,
            StreamBounds(
                pending_seconds=self._options.pending_seconds,
                unread_events=self._options.unread_events,
            ),
            priority=priority,
            listener=listener,
            leave=self._leave,
            defer=self._defer,
        )
        with self._lock:
            del self._loads[seat]
            if not self._is_closed:
                self._loads[stream] = load
                self._streams.add(stream)
                return stream
        stream.cancel()
        raise StreamError("the pool was closed: open another")

    def describe_capacity(self, language: str, options: StreamOptions | None = None) -> str:
        """Return how many streams of a kind this machine sustains, measuring it if needed."""
        contexts = (options or StreamOptions()).contexts
        self._capacity.load(contexts, language, is_idle=not self._loads)
        return self._capacity.describe(contexts)

    def measure_capacity(self, language: str, options: StreamOptions | None = None) -> str:
        """Measure the capacity for a kind of stream again, and return it as a clause.

        Raises:
            StreamError: streams are open, which measuring would disturb.
        """
        if self._loads:
            raise StreamError(f"{len(self._loads)} streams are open: measure on an idle pool")
        contexts = (options or StreamOptions()).contexts
        self._capacity.measure(contexts, language)
        return self._capacity.describe(contexts)

    def _load(self, language: str, options: StreamOptions) -> float:
        if not self._options.admission:
            return 0.0
        return self._capacity.load(options.contexts, language, is_idle=not self._loads)

    def _admit(self, load: float, options: StreamOptions) -> None:
        if self._is_closed:
            raise StreamError("the pool is closed: open another")
        if len(self._loads) >= self._options.max_streams:
            raise StreamError(
                f"{len(self._loads)} streams are open, the limit: wait until one ends, or "
                "allow more (max_streams)"
            )
        if sum(self._loads.values()) + load > 1.0 + _ROUNDING:
            holds = self._capacity.describe(options.contexts)
            if load > 1.0:
                raise StreamError(f"{holds}: choose longer chunks, or another precision")
            raise StreamError(
                f"no room for another stream: {holds}, and {len(self._loads)} are open; wait "
                "until one ends, or choose a longer latency"
            )

    def _leave(self, stream: PooledStream) -> None:
        with self._lock:
            self._streams.discard(stream)
            self._loads.pop(stream, None)

    def _defer(self, function: Callable[[], None]) -> None:
        """Run a function in a thread of the pool, or here once these have ended."""
        try:
            self._readers.submit(function)
        except RuntimeError:
            function()

    def close(self) -> None:
        """Cancel all streams and stop. Not from a listener."""
        with self._lock:
            self._is_closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.cancel()
        self._schedule.close()
        for worker in self._workers:
            worker.join()
        self._readers.shutdown()

    def _work(self) -> None:
        while (streams := self._schedule.take(self._rows)) is not None:
            steps = [step for stream in streams if (step := _begin(stream)) is not None]
            self._run(steps)
            self._schedule.done(streams)

    def _run(self, steps: Sequence["_Ready"]) -> None:
        with_features = self._together(steps, self._features)
        rows = [row for one in with_features if (row := _row(*one)) is not None]
        outputs = self._together(rows, self._encode)
        list(self._readers.map(_complete, outputs))

    def _features(self, steps: Sequence["_Ready"]) -> list[Float32Array]:
        return self._model.features([one.step.samples for one in steps])

    def _encode(self, rows: Sequence["_WithRow"]) -> list[StepOutput]:
        languages = [one.step.language for one in rows]
        return self._model.encode([one.row for one in rows], languages)

    def _together(
        self, steps: Sequence[_In], function: Callable[[Sequence[_In]], list[_Out]]
    ) -> list[tuple[_In, _Out]]:
        """Call a function that changes no stream; if it fails, for each alone: that one fails."""
        if not steps:
            return []
        try:
            return list(zip(steps, function(steps), strict=True))
        except Exception as error:  # noqa: BLE001 (given to the stream)
            if len(steps) > 1:
                return [pair for one in steps for pair in self._together([one], function)]
            steps[0].stream.fail(as_error(error))
            return []


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A stream and its next step."""

    stream: PooledStream
    step: StreamStep


@dataclass(frozen=True, slots=True, eq=False)
class _WithRow(_Ready):
    """A step with its encoder input."""

    row: StepInput


def _begin(stream: PooledStream) -> _Ready | None:
    try:
        step = stream.begin_step()
    except Exception as error:  # noqa: BLE001 (given to the stream)
        stream.fail(as_error(error))
        return None
    return None if step is None else _Ready(stream, step)


def _row(ready: _Ready, features: Float32Array) -> _WithRow | None:
    try:
        row = ready.stream.row(ready.step, features)
    except Exception as error:  # noqa: BLE001 (given to the stream)
        ready.stream.fail(as_error(error))
        return None
    return _WithRow(ready.stream, ready.step, row)


def _complete(encoded: tuple[_WithRow, StepOutput]) -> None:
    row, output = encoded
    try:
        row.stream.complete(row.step, output)
    except Exception as error:  # noqa: BLE001 (given to the stream)
        row.stream.fail(as_error(error))


def as_error(error: Exception) -> MmsError:
    """Return an error as one that callers expect."""
    if isinstance(error, MmsError):
        return error
    made = BackendError(f"a step of the stream failed: {error}")
    made.__cause__ = error
    return made
