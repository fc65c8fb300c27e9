"""A stream of a pool: fed by its client, worked on by the pool's thread."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Literal

from mms_engine.errors import MmsError, StreamError
from mms_engine.streaming.contexts import Encoded, EncoderRow
from mms_engine.streaming.core import Step, StreamCore
from mms_engine.streaming.events import Event
from mms_engine.streaming.pcm import Pcm
from mms_engine.streaming.schedule import Schedule
from mms_engine.types import Float32Array

Listener = Callable[[Event | MmsError], None]
"""Called with each event, and with the error if the stream fails. It must return at once: other
streams wait for it. What it raises fails its stream."""
_END = object()
logger = logging.getLogger(__name__)


class PooledStream:
    """One client's stream. `feed` returns at once; events come to the listener, or from `events`.

    Every call but `cancel` is for one thread at a time.
    """

    def __init__(
        self,
        core: StreamCore,
        schedule: Schedule,
        leave: Callable[["PooledStream"], None],
        listener: Listener | None,
    ) -> None:
        self.load = 0.0
        self.priority = 0
        self.pending_seconds = 30.0
        """Audio that may wait beyond what a step takes."""
        self.unread_events = 1000
        """Events that may wait to be read."""
        self.error: MmsError | None = None
        """Why it failed, if it did."""
        self._core = core
        self._schedule = schedule
        self._leave = leave
        self._listener = listener
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._telling = threading.RLock()
        """Held while the listener is called, so that nothing is told after `cancel`."""
        self._state: Literal["open", "ending", "done"] = "open"
        self._working = False
        """Whether the pool's threads have a step of it: they need what it holds on a device."""

    def __repr__(self) -> str:
        return f"PooledStream({self._core.language}, {self._state})"

    def feed(self, pcm: Pcm, sample_rate: int | None = None) -> None:
        """Take in audio.

        Raises:
            AudioError: it is not audio; the stream goes on as if it had not been fed.
            StreamError: the stream has ended or failed, or too much of its audio is waiting, or
                too many events that nobody reads.
        """
        with self._lock:
            self._check()
            self._check_room()
            self._core.accept(pcm, sample_rate)
            is_due = self._core.is_due
        if is_due:
            self._schedule.wake(self)

    def _check_room(self) -> None:
        contexts = self._core.options.contexts
        taken = contexts.chunk_seconds + contexts.right_seconds
        if self._core.pending_seconds > self.pending_seconds + taken:
            raise StreamError(
                f"{self._core.pending_seconds:.1f} s of audio wait already, the limit is "
                f"{self.pending_seconds:g}: feed no faster than the events come"
            )
        if self._events.qsize() > self.unread_events:
            raise StreamError(
                f"{self._events.qsize()} events wait to be read, the limit is "
                f"{self.unread_events}: read them (events), or give a listener"
            )

    def flush(self) -> None:
        """End the utterance with the audio that is there; feeding may go on at once."""
        self._request("flush", "open")

    def finish(self) -> None:
        """Say that no more audio comes; the last events follow."""
        self._request("end", "ending")

    def _request(self, reason: Literal["flush", "end"], state: Literal["open", "ending"]) -> None:
        with self._lock:
            self._check()
            self._core.end(reason)
            self._state = state
        self._schedule.wake(self)

    def cancel(self) -> None:
        """Let go of the stream and all it holds, from any thread; no more events come.

        It waits for the listener to return, if that is being called.
        """
        with self._telling, self._lock:
            self._state = "done"
        self._close()

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield events as they come, until the stream ends.

        Args:
            timeout: Seconds to wait for one; `None` for as long as it takes.

        Raises:
            MmsError: why the stream failed.
            TimeoutError: nothing came in time.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"no event within {timeout} s") from None
            if event is _END:
                self._events.put(_END)  # for whoever asks again
                return
            if isinstance(event, MmsError):
                raise event
            yield event  # type: ignore[misc]

    def _check(self) -> None:
        if self.error is not None:
            raise StreamError(f"the stream has failed: {self.error}") from self.error
        if self._state != "open":
            raise StreamError(f"the stream is {self._state}: open another, or wait for its events")

    def next_due(self) -> Step | None:
        """Return the next step, or `None`; for the pool's thread."""
        with self._lock:
            if self._state == "done":
                return None
            step = self._core.next_step()
            if step is not None:
                self._working = True
                return step
            events = self._core.close() if self._core.is_ending else []
            more = self._core.is_ending
            ended = self._state == "ending" and not more
        self._tell(events)
        if more or events:
            self._schedule.wake(self)  # audio may be there that came after a flush
        if ended:
            self._end()
        return None

    def row(self, step: Step, features: Float32Array) -> EncoderRow:
        """Return what the encoder runs on; for the pool's thread."""
        with self._lock:
            return self._core.row(step, features)

    def read(self, step: Step, encoded: Encoded) -> None:
        """Take a step's result; for the pool's threads."""
        with self._lock:
            cancelled = self._state == "done"
            events = [] if cancelled else self._core.read(step, encoded)
            self._working = False
            is_due = not cancelled and self._core.is_due
        if cancelled:
            self._release()
        self._tell(events)
        if is_due:
            self._schedule.wake(self)

    def fail(self, error: MmsError) -> None:
        """End the stream with an error; for the pool's threads."""
        with self._telling:
            with self._lock:
                self._working = False
                cancelled = self._state == "done"
                if not cancelled:
                    self.error, self._state = error, "done"
            if not cancelled:
                self._give_error(error)
        self._close()

    def _give_error(self, error: MmsError) -> None:
        try:
            self._give(error)
        except Exception:
            logger.exception("the listener of a stream that failed (%s) failed too", error)

    @property
    def chunk_seconds(self) -> float:
        """Time in which a step should be done once its audio is there."""
        return self._core.options.contexts.chunk_seconds

    def _tell(self, events: list[Event]) -> None:
        with self._telling:
            for event in events:
                if self._state == "done":
                    return
                self._give(event)

    def _end(self) -> None:
        with self._lock:
            self._state = "done"
        self._close()

    def _give(self, event: Event | MmsError) -> None:
        if self._listener is None:
            self._events.put(event)
        else:
            self._listener(event)

    def _close(self) -> None:
        self._schedule.forget(self)
        self._leave(self)
        self._release()
        self._events.put(_END)

    def _release(self) -> None:
        """Give back what it holds on a device, unless a step still needs that."""
        with self._lock:
            if not self._working:
                self._core.release()
