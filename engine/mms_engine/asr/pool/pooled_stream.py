"""Stream of a pool: fed by its client, computed by the pool's threads."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from mms_engine.asr.pool.options import Listener, SaveRequest, StreamBounds
from mms_engine.asr.pool.schedule import Schedule
from mms_engine.asr.streaming.core import StreamCore, StreamStep
from mms_engine.asr.streaming.events import EndReason, Event
from mms_engine.asr.streaming.language import AUTO, LanguageStep
from mms_engine.asr.streaming.options import StreamOptions
from mms_engine.asr.streaming.pcm import Pcm
from mms_engine.asr.streaming.state import save
from mms_engine.encoder.interface import StepInput, StepOutput
from mms_engine.errors import MmsError, StreamError
from mms_engine.types import Float32Array

_END = object()
_SMALL_PIECE = 320
"""Samples of a piece that others are joined to."""
_MOST_REQUESTS = 100
_EARLY = 0.001
"""Seconds before a step is due at which it is scheduled: a rounding error must not delay it."""
_thread = threading.local()  # `in_listener`: whether the current thread runs a listener
logger = logging.getLogger(__name__)


class PooledStream:
    """Stream of one client. `feed`, `flush` and `finish` queue a request and return at once.

    Events go to the listener, or else to `events`. Every call but `cancel` is for one thread at a
    time; `feed` and `events` may be called by different threads.
    """

    def __init__(
        self,
        core: StreamCore,
        schedule: Schedule["PooledStream"],
        bounds: StreamBounds,
        *,
        priority: int,
        listener: Listener | None,
        leave: Callable[["PooledStream"], None],
        defer: Callable[[Callable[[], None]], None],
        advanced: Callable[[], None] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Take over the core of a stream.

        Args:
            core: State of the stream; only the pool's threads change it.
            schedule: Queue of streams that have work.
            bounds: Bounds.
            priority: Steps of higher priority run first.
            listener: Receiver of events; `None` to keep them for `events`.
            leave: Called once when the stream has ended.
            defer: Runs a function in another thread: freeing device memory may wait for a batch.
            advanced: Called after each step; see `StreamPool.open`.
            fingerprint: That of the model, for `save`.
        """
        self.priority = priority
        self._error: MmsError | None = None
        self._core = core
        self._schedule = schedule
        self._bounds = bounds
        self._listener = listener
        self._leave = leave
        self._defer = defer
        self._advanced = advanced
        self._fingerprint = fingerprint
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._emitting = threading.RLock()
        """Held while the listener runs, so that no call follows `cancel`."""
        self._lock = threading.Lock()
        """Guards the attributes below; never held during computation or a call of the listener."""
        self._inbox: deque[tuple[Float32Array, int] | EndReason | SaveRequest] = deque()
        self._requests = 0
        """Requested ends of utterances that are not carried out."""
        self._state: Literal["open", "ending", "done"] = "open"
        self._is_in_step = False
        """Whether a thread of the pool uses the core."""
        self._is_due = False
        """Whether the stream was given to the schedule since its last step."""
        self._fed_seconds = core.audio_seconds
        self._used_seconds = core.used_seconds
        self._due_seconds = core.due_seconds
        """Audio after which a step is due."""

    def __repr__(self) -> str:
        return f"PooledStream({self._core.language or AUTO}, {self._state})"

    @property
    def error(self) -> MmsError | None:
        """Why the stream failed; `None` if it did not."""
        return self._error

    @property
    def language(self) -> str:
        """Language code; `auto` while it is not known, or has no adapter."""
        return self._core.language or AUTO

    @property
    def options(self) -> StreamOptions:
        """Options of the stream."""
        return self._core.options

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio fed."""
        return self._fed_seconds

    @property
    def pending_seconds(self) -> float:
        """Seconds of audio fed beyond what the next step takes."""
        contexts = self._core.options.contexts
        taken = contexts.chunk_seconds + contexts.right_seconds
        return max(0.0, self._fed_seconds - self._used_seconds - taken)

    @property
    def is_idle(self) -> bool:
        """Whether no step runs or is due: events follow only after more audio or a request."""
        with self._lock:
            return not (self._is_in_step or self._is_due)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Words of the language model and hotwords that cannot be used."""
        return self._core.utterance.warnings

    @property
    def chunk_seconds(self) -> float:
        """Time within which a step should be done once its audio has arrived."""
        return self.options.contexts.chunk_seconds

    def feed(self, pcm: Pcm, sample_rate: int | None = None) -> None:
        """Queue audio; return without waiting for a step, whatever the pool computes.

        Args:
            pcm: As for `Stream.feed`.
            sample_rate: New sample rate in Hz, where it changes.

        Raises:
            AudioError: it is not valid audio; the stream is unchanged.
            StreamError: the stream has ended or failed, or audio or events are pending beyond the
                pool's bounds; audio queued before is kept.
        """
        with self._lock:
            self._check_open()
            self._check_room()
        samples, rate = self._core.parse(pcm, sample_rate)
        if not len(samples):
            return
        with self._lock:
            self._put(samples, rate)
            self._fed_seconds += len(samples) / rate
            self._is_due = self._is_due or self._fed_seconds >= self._due_seconds - _EARLY
        if self._is_due:
            self._schedule.wake(self)

    def _put(self, samples: Float32Array, rate: int) -> None:
        """Queue samples; very small pieces are joined, since each costs more than its samples."""
        last = self._inbox[-1] if self._inbox else None
        if isinstance(last, tuple) and last[1] == rate and len(last[0]) < _SMALL_PIECE:
            self._inbox[-1] = np.concatenate([last[0], samples]), rate
        else:
            self._inbox.append((samples, rate))

    def _check_room(self) -> None:
        if self.pending_seconds > self._bounds.pending_seconds:
            pending = self._fed_seconds - self._used_seconds
            raise StreamError(
                f"{pending:.1f} s of audio are pending, the limit is "
                f"{self._bounds.pending_seconds:g}: feed no faster than events come"
            )
        if self._events.qsize() > self._bounds.unread_events:
            raise StreamError(
                f"{self._events.qsize()} events are unread, the limit is "
                f"{self._bounds.unread_events}: read them with events(), or set a listener"
            )

    def flush(self) -> None:
        """Request the end of the utterance after the audio fed so far; more audio may follow.

        Raises:
            StreamError: the stream has ended or failed, or too many requests are pending.
        """
        self._request("flush", "open")

    def finish(self) -> None:
        """Request the end of the stream; its last events follow."""
        self._request("end", "ending")

    def _request(self, reason: EndReason, state: Literal["open", "ending"]) -> None:
        with self._lock:
            self._check_open()
            if reason == "flush" and self._requests >= _MOST_REQUESTS:
                raise StreamError(f"{self._requests} flushes are pending, the limit")
            self._requests += 1
            self._inbox.append(reason)
            self._state = state
            self._is_due = True
        self._schedule.wake(self)

    def save(self, receive: Callable[[bytes | MmsError], None]) -> None:
        """Request the state of the stream behind all that was fed and requested so far.

        Args:
            receive: Called from a thread of the pool, after the events so far, with the state for
                `StreamPool.restore`, or with an error. Must return at once.

        Raises:
            StreamError: the stream has ended or failed.
        """
        with self._lock:
            self._check_open()
            self._inbox.append(SaveRequest(self._core.reader.rest, receive))
        self._schedule.wake(self)

    def cancel(self) -> None:
        """End the stream and drop its pending audio. May be called from any thread.

        Returns without waiting for a step; memory is freed once no step uses it. No event follows.
        If the listener is running, `cancel` waits for it to return; called from a listener, of
        this or another stream, it does not wait, and the event being delivered may be the last.
        """
        if getattr(_thread, "in_listener", False):  # waiting could deadlock two listeners
            self._close()
            return
        with self._emitting:
            self._close()

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield events as they come, until the stream ends.

        Args:
            timeout: Seconds to wait for an event; `None` for no limit.

        Raises:
            MmsError: why the stream failed.
            TimeoutError: no event came in time.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"no event within {timeout} s") from None
            if event is _END:
                self._events.put(_END)  # for the next call
                return
            if isinstance(event, MmsError):
                raise event
            yield event  # type: ignore[misc]

    def _check_open(self) -> None:
        if self._error is not None:
            raise StreamError(f"the stream has failed: {self._error}") from self._error
        if self._state != "open":
            raise StreamError(f"the stream is {self._state}: open another, or wait for its events")

    # Called by the pool's threads, one at a time:

    def begin_step(self) -> StreamStep | LanguageStep | None:
        """Return the next step, or `None` if none is due; then close a requested utterance.

        Every returned step ends with `complete`, `decide` or `fail`.
        """
        with self._lock:
            if self._state == "done":
                return None
            self._is_in_step = True
            inbox, self._inbox = self._inbox, deque()
            state = self._state
        self._take(inbox)
        step = self._core.next_step()
        if step is not None:
            return step
        if self._core.is_ending:
            self._core.close()
        is_finished = state == "ending" and not self._core.is_ending
        self._emit(self._core.take_events())
        if is_finished:
            self._close()
        self._end_step()
        return None

    def _take(self, inbox: deque[tuple[Float32Array, int] | EndReason | SaveRequest]) -> None:
        """Give the core what was fed and requested; a save waits for the ends before it."""
        while inbox:
            item = inbox.popleft()
            if isinstance(item, tuple):
                self._core.add(*item)
            elif not isinstance(item, SaveRequest):
                self._core.end(item)
            elif self._core.is_ending:
                with self._lock:
                    self._inbox.extendleft([*reversed(inbox), item])
                return
            else:
                try:
                    state = save(self._core, self._fingerprint, item.rest)
                except MmsError as error:
                    item.receive(error)
                else:
                    item.receive(state)

    def row(self, step: StreamStep, features: Float32Array) -> StepInput:
        """Return the encoder input of a step."""
        return self._core.row(step, features)

    def complete(self, step: StreamStep, output: StepOutput) -> None:
        """Decode the output of a step and emit its events."""
        if self._state != "done":
            try:
                self._core.read(step, output)
            finally:
                self._emit(self._core.take_events())
        self._end_step()

    def decide(self, logits: Sequence[Float32Array]) -> None:
        """Take the logits of a language step and emit its events."""
        if self._state != "done":
            try:
                self._core.decide(logits)
            finally:
                self._emit(self._core.take_events())
        self._end_step(has_work=True)

    def fail(self, error: MmsError) -> None:
        """End the stream with an error, unless it was cancelled; for errors during a step."""
        with self._emitting:
            if self._state != "done":
                self._error = error
                try:
                    self._deliver(error)
                except Exception:
                    logger.exception("listener failed on the error of its stream: %s", error)
        self._close()
        self._end_step()

    def _end_step(self, *, has_work: bool = False) -> None:
        """Release the core from the step: free it if the stream ended, reschedule it if due."""
        core = self._core
        with self._lock:
            self._is_in_step = False
            is_done = self._state == "done"
            if not is_done:
                self._used_seconds = core.used_seconds
                self._due_seconds = core.due_seconds
            requests = sum(not isinstance(item, tuple) for item in self._inbox)
            self._requests = requests + len(core.endings)
            has_audio = bool(self._inbox) and self._fed_seconds >= self._due_seconds - _EARLY
            self._is_due = has_work or core.is_due or requests > 0 or has_audio
        if is_done:
            self._defer(core.release)
        elif self._is_due:
            self._schedule.wake(self)
        if self._advanced is not None:
            self._advanced()

    def _emit(self, events: list[Event]) -> None:
        with self._emitting:
            for event in events:
                if self._state == "done":
                    return
                self._deliver(event)

    def _deliver(self, event: Event | MmsError) -> None:
        if self._listener is None:
            self._events.put(event)
            return
        outer = getattr(_thread, "in_listener", False)
        _thread.in_listener = True
        try:
            self._listener(event)
        finally:
            _thread.in_listener = outer

    def _close(self) -> None:
        """Leave the pool once; the core is freed here, or at the end of the current step."""
        with self._lock:
            if self._state == "done":
                return
            self._state = "done"
            inbox, self._inbox = self._inbox, deque()
            is_idle = not self._is_in_step
        for item in inbox:
            if isinstance(item, SaveRequest):
                item.receive(StreamError("the stream has ended"))
        self._schedule.forget(self)
        self._leave(self)
        self._events.put(_END)
        if is_idle:
            self._defer(self._core.release)
