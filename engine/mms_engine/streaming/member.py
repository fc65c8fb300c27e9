"""A stream of a pool: fed by its client, worked on by the pool's thread."""

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
"""Called with each event, and with the error if the stream fails."""
_END = object()


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
        self.error: MmsError | None = None
        """Why it failed, if it did."""
        self._core = core
        self._schedule = schedule
        self._leave = leave
        self._listener = listener
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._state: Literal["open", "ending", "done"] = "open"
        self._running = False

    def __repr__(self) -> str:
        return f"PooledStream({self._core.language}, {self._state})"

    def feed(self, pcm: Pcm, sample_rate: int | None = None) -> None:
        """Take in audio.

        Raises:
            AudioError: it is not audio; the stream goes on as if it had not been fed.
            StreamError: the stream has ended or failed, or too much of its audio is waiting.
        """
        with self._lock:
            self._check("open")
            if self._core.pending_seconds > self.pending_seconds:
                raise StreamError(
                    f"{self._core.pending_seconds:.1f} s of audio wait already, the limit is "
                    f"{self.pending_seconds:g}: feed no faster than the events come"
                )
            self._core.accept(pcm, sample_rate)
        self._schedule.wake(self)

    def flush(self) -> None:
        """End the utterance with the audio that is there."""
        self._request("flush", "open")

    def finish(self) -> None:
        """Say that no more audio comes; the last events follow."""
        self._request("end", "ending")

    def _request(self, reason: Literal["flush", "end"], state: Literal["open", "ending"]) -> None:
        with self._lock:
            self._check("open")
            self._core.end(reason)
            self._state = state
        self._schedule.wake(self)

    def cancel(self) -> None:
        """Let go of the stream and all it holds, from any thread; no more events come."""
        with self._lock:
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
                return
            if isinstance(event, MmsError):
                raise event
            yield event  # type: ignore[misc]

    def _check(self, wanted: str) -> None:
        if self.error is not None:
            raise StreamError(f"the stream has failed: {self.error}") from self.error
        if self._state != wanted or self._core.ending is not None:
            raise StreamError(f"the stream is {self._state}: open another, or wait for its events")

    def next_due(self) -> Step | None:
        """Return the next step, or `None`; for the pool's thread."""
        with self._lock:
            if self._state == "done":
                return None
            step = self._core.next_step()
            if step is not None:
                return step
            events = self._core.close() if self._core.ending is not None else []
            ended = self._state == "ending"
        self._tell(events)
        if ended:
            self._close()
        return None

    def row(self, step: Step, features: Float32Array) -> EncoderRow:
        """Return what the encoder runs on; for the pool's thread."""
        with self._lock:
            return self._core.row(step, features)

    def read(self, step: Step, encoded: Encoded) -> None:
        """Take a step's result; for the pool's threads."""
        with self._lock:
            if self._state == "done":
                return
            events = self._core.read(step, encoded)
        self._tell(events)
        self._schedule.wake(self)

    def fail(self, error: MmsError) -> None:
        """End the stream with an error; for the pool's threads."""
        with self._lock:
            self.error, self._state = error, "done"
        self._give(error)
        self._close()

    @property
    def deadline(self) -> float:
        """When its next step should have run, on the clock of `time.monotonic`."""
        return self._core.due_at

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._give(event)

    def _give(self, event: Event | MmsError) -> None:
        if self._listener is None:
            self._events.put(event)
        else:
            self._listener(event)

    def _close(self) -> None:
        self._schedule.forget(self)
        self._events.put(_END)
        self._leave(self)
