"""Many streams over one model: steps that are due run together, the most urgent first."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mms_engine.cores import usable_cores
from mms_engine.errors import BackendError, MmsError, StreamError
from mms_engine.streaming.capacity import Capacity
from mms_engine.streaming.contexts import Encoded, EncoderRow
from mms_engine.streaming.core import Step, StreamCore
from mms_engine.streaming.member import Listener, PooledStream
from mms_engine.streaming.model import StreamingModel
from mms_engine.streaming.options import StreamOptions
from mms_engine.streaming.schedule import Schedule
from mms_engine.types import Float32Array

_ROUNDING = 1e-9
OpenCore = Callable[[str, StreamOptions], StreamCore]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Bounds of a pool."""

    max_streams: int = 1024
    """Streams that may be open at once."""
    batch_rows: int = 64
    """Steps that run together at most."""
    pending_seconds: float = 30.0
    """Audio of one stream that may wait; what would be more is refused."""
    admission: bool = True
    """Whether a stream is refused that this machine could not keep up with."""
    decode_threads: int = 0
    """Threads that read logits; 0 for every core this process may use."""

    def __post_init__(self) -> None:
        if min(self.max_streams, self.batch_rows) < 1 or self.pending_seconds <= 0:
            raise ValueError(f"a pool needs room for a stream, a row and some audio: {self}")


class StreamPool:
    """Streams of any languages that share a model. `Recognizer.pool` makes one.

    May be used from several threads at once; each stream by one at a time.
    """

    def __init__(self, model: StreamingModel, open_core: OpenCore, options: PoolOptions) -> None:
        self._model = model
        self._open_core = open_core
        self._options = options
        self._capacity = Capacity(model)
        self._schedule = Schedule()
        self._members: set[PooledStream] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        threads = options.decode_threads or usable_cores()
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="mms-decode")
        self._worker = threading.Thread(target=self._work, name="mms-streams", daemon=True)
        self._worker.start()

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
            priority: Streams of a higher one run first.

        Raises:
            StreamError: there is no room, or the machine could not keep up.
            LanguageError, BundleError, LanguageModelError: as for `Recognizer.stream`.
        """
        options = options or StreamOptions()
        core = self._open_core(language, options)
        load = self._capacity.load(options.contexts, language) if self._options.admission else 0.0
        with self._lock:
            self._admit(load, options)
            member = PooledStream(core, self._schedule, self._leave, listener)
            member.load, member.priority = load, priority
            member.pending_seconds = self._options.pending_seconds
            self._members.add(member)
        return member

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
            raise StreamError(
                f"no room for another stream: {self._capacity.sentence(options.contexts)}, and "
                f"{len(self._members)} are open; wait until one ends, or choose a longer latency"
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
        self._worker.join()
        self._readers.shutdown()

    def _work(self) -> None:
        while (members := self._schedule.take(self._options.batch_rows)) is not None:
            work = [_Work(member) for member in members]
            work = [one for one in work if self._alone(one, _find_step)]
            self._run([one for one in work if one.step is not None])

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
