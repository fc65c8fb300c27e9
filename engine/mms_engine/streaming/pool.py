"""Many streams over one model: steps that are due run together, the most urgent first."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mms_engine.errors import BackendError, MmsError, StreamError
from mms_engine.streaming.capacity import Capacity
from mms_engine.streaming.contexts import Encoded, EncoderRow
from mms_engine.streaming.core import Step, StreamCore
from mms_engine.streaming.lanes import plan_lanes
from mms_engine.streaming.member import Listener, PooledStream
from mms_engine.streaming.model import StreamingModel
from mms_engine.streaming.options import StreamOptions
from mms_engine.streaming.schedule import Schedule
from mms_engine.system import usable_cores
from mms_engine.types import Float32Array

_ROUNDING = 1e-9
OpenCore = Callable[[str, StreamOptions], StreamCore]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Bounds of a pool."""

    max_streams: int = 1024
    """Streams that may be open at once."""
    batch_rows: int = 0
    """Steps that run together at most; 0 for the device's own: 8 on a CPU, 64 on a GPU."""
    lanes: int = 0
    """Batches that run at the same time on a CPU, which share its cores; 0 for as many as leave
    each step enough of them."""
    pending_seconds: float = 30.0
    """Audio of one stream that may wait; what would be more is refused."""
    unread_events: int = 1000
    """Events of a stream without a listener that may wait; beyond them its audio is refused."""
    admission: bool = True
    """Whether a stream is refused that this machine could not keep up with."""
    decode_threads: int = 0
    """Threads that read logits; 0 for every core this process may use."""

    def __post_init__(self) -> None:
        if min(self.max_streams, self.unread_events) < 1 or self.pending_seconds <= 0:
            raise ValueError(f"a pool needs room for a stream, an event and some audio: {self}")
        if min(self.batch_rows, self.lanes, self.decode_threads) < 0:
            raise ValueError(f"rows, lanes and threads are not negative, 0 for the default: {self}")


class StreamPool:
    """Streams of any languages that share a model. `Recognizer.pool` makes one.

    May be used from several threads at once; each stream by one at a time.
    """

    def __init__(
        self, model: StreamingModel, cores: int, open_core: OpenCore, options: PoolOptions
    ) -> None:
        """Begin without streams.

        Args:
            model: What runs them.
            cores: That may be used, on a CPU.
            open_core: Makes the core of a stream.
            options: Bounds.
        """
        architecture = model.acoustic.bundle.manifest.architecture
        lanes = plan_lanes(architecture, model.acoustic.device, cores, options.lanes)
        self._model = model.with_threads(lanes.threads)
        self._rows = options.batch_rows or self._model.rows
        self._open_core = open_core
        self._options = options
        self._capacity = Capacity(self._model, lanes.count, self._rows)
        self._schedule = Schedule(lanes.count)
        self._members: set[PooledStream] = set()
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
        """Streams that are open."""
        return len(self._members)

    def open(
        self,
        language: str,
        options: StreamOptions | None = None,
        *,
        listener: Listener | None = None,
        priority: int = 0,
    ) -> PooledStream:
        """Begin a stream.

        Args:
            language: Its code.
            options: How it is heard.
            listener: Called with each event, from another thread, one call at a time, and to
                return at once; without one, events wait in the stream, in memory.
            priority: Steps of a higher one run first, unless others are ten seconds late by now.

        Raises:
            StreamError: there is no room, or the machine could not keep up.
            LanguageError, BundleError, LanguageModelError: as for `Recognizer.stream`.
        """
        options = options or StreamOptions()
        core = self._open_core(language, options)
        try:
            return self._join(core, options, listener, priority)
        except BaseException:
            core.release()
            raise

    def _join(
        self, core: StreamCore, options: StreamOptions, listener: Listener | None, priority: int
    ) -> PooledStream:
        admission = self._options.admission
        load = self._capacity.load(options.contexts, core.language) if admission else 0.0
        with self._lock:
            self._admit(load, options)
            member = PooledStream(core, self._schedule, self._leave, listener)
            member.load, member.priority = load, priority
            member.pending_seconds = self._options.pending_seconds
            member.unread_events = self._options.unread_events
            self._members.add(member)
        return member

    def sentence(self, language: str, options: StreamOptions | None = None) -> str:
        """Say how many streams of a kind this machine holds; measures it when first asked."""
        contexts = (options or StreamOptions()).contexts
        self._capacity.load(contexts, language)
        return self._capacity.sentence(contexts)

    def _admit(self, load: float, options: StreamOptions) -> None:
        if self._is_closed:
            raise StreamError("the pool is closed: open another")
        if len(self._members) >= self._options.max_streams:
            raise StreamError(
                f"{len(self._members)} streams are open, the limit: wait until one ends, or "
                "allow more (max_streams)"
            )
        taken = sum(member.load for member in self._members)
        if taken + load > 1.0 + _ROUNDING:
            holds = self._capacity.sentence(options.contexts)
            if load > 1.0:
                raise StreamError(f"{holds}: choose longer chunks, or another precision")
            raise StreamError(
                f"no room for another stream: {holds}, and {len(self._members)} are open; wait "
                "until one ends, or choose a longer latency"
            )

    def _leave(self, member: PooledStream) -> None:
        with self._lock:
            self._members.discard(member)

    def close(self) -> None:
        """Cancel all streams and stop. Not from a listener."""
        with self._lock:
            self._is_closed = True
            members = list(self._members)
        for member in members:
            member.cancel()
        self._schedule.close()
        for worker in self._workers:
            worker.join()
        self._readers.shutdown()

    def _work(self) -> None:
        while (members := self._schedule.take(self._rows)) is not None:
            work = [_Work(member) for member in members]
            work = [one for one in work if self._alone(one, _find_step)]
            self._run([one for one in work if one.step is not None])
            self._schedule.done(members)

    def _run(self, work: list["_Work"]) -> None:
        work = self._survivors(work, self._find_features)
        work = [one for one in work if self._alone(one, _find_row)]
        work = self._survivors(work, self._encode)
        list(self._readers.map(lambda one: self._alone(one, _read), work))

    def _find_features(self, work: list["_Work"]) -> None:
        features = self._model.features([one.step.samples for one in work if one.step])
        for one, own in zip(work, features, strict=True):
            one.features = own

    def _encode(self, work: list["_Work"]) -> None:
        rows = [one.row for one in work if one.row is not None]
        encoded = self._model.encode(rows, [one.step.language for one in work if one.step])
        for one, own in zip(work, encoded, strict=True):
            one.encoded = own

    def _survivors(
        self, work: list["_Work"], function: Callable[[list["_Work"]], None]
    ) -> list["_Work"]:
        """Call a function that changes no stream; if it fails, for each alone: that one fails."""
        if not work:
            return []
        try:
            function(work)
        except Exception as error:  # noqa: BLE001 (given to the stream)
            if len(work) > 1:
                return [one for each in work for one in self._survivors([each], function)]
            work[0].member.fail(as_error(error))
            return []
        return work

    @staticmethod
    def _alone(one: "_Work", function: Callable[["_Work"], None]) -> bool:
        try:
            function(one)
        except Exception as error:  # noqa: BLE001 (given to the stream)
            one.member.fail(as_error(error))
            return False
        return True


@dataclass(slots=True, eq=False)
class _Work:
    """A step on its way."""

    member: PooledStream
    step: Step | None = None
    features: Float32Array | None = None
    row: EncoderRow | None = None
    encoded: Encoded | None = None


def _find_step(one: _Work) -> None:
    one.step = one.member.next_due()


def _find_row(one: _Work) -> None:
    if one.step is not None and one.features is not None:
        one.row = one.member.row(one.step, one.features)


def _read(one: _Work) -> None:
    if one.step is not None and one.encoded is not None:
        one.member.read(one.step, one.encoded)


def as_error(error: Exception) -> MmsError:
    """Return an error as one that a caller expects."""
    if isinstance(error, MmsError):
        return error
    made = BackendError(f"a step of the stream failed: {error}")
    made.__cause__ = error
    return made
