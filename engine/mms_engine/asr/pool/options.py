"""Bounds of a pool and of its streams, and the receivers of their events and states."""

from collections.abc import Callable
from dataclasses import dataclass

from mms_engine.asr.streaming.events import Event
from mms_engine.errors import MmsError

Listener = Callable[[Event | MmsError], None]
"""Called with each event, and with the error if the stream fails. It must return at once: other
streams wait for it. An exception it raises fails its stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Bounds of a pool."""

    max_streams: int = 1024
    """Streams that may be open at once."""
    batch_rows: int = 0
    """Most steps in one run; 0 for the device's default: 8 on a CPU, 64 on a GPU."""
    lanes: int = 0
    """Concurrent runs on a CPU, which share its cores; 0 to derive it from the encoder's size."""
    pending_seconds: float = 30.0
    """Seconds of pending audio per stream beyond which `feed` refuses more."""
    unread_events: int = 1000
    """Unread events per stream beyond which `feed` refuses audio; not with a listener."""
    admission: bool = True
    """Whether to refuse streams beyond what this machine sustains in real time."""
    decode_threads: int = 0
    """Threads that decode logits; 0 for every core this process may use."""
    beam_for_hotwords: bool = False
    """Whether streams with hotwords use beam search where the recogniser decodes greedily."""

    def __post_init__(self) -> None:
        if min(self.max_streams, self.unread_events) < 1 or not self.pending_seconds > 0:
            raise ValueError(
                f"max_streams, unread_events and pending_seconds must be positive: {self}"
            )
        if min(self.batch_rows, self.lanes, self.decode_threads) < 0:
            raise ValueError(
                f"batch_rows, lanes and decode_threads must be 0 (default) or positive: {self}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """Bounds of one stream of a pool."""

    pending_seconds: float
    """Audio that may wait beyond what a step takes."""
    unread_events: int
    """Events that may wait to be read."""


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Request for the state of a stream behind the audio and the ends requested before."""

    rest: bytes
    """Bytes of an incomplete sample."""
    receive: Callable[[bytes | MmsError], None]
