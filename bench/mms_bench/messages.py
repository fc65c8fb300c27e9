"""What the measuring process and its workers say to each other: one JSON line each way."""

from dataclasses import dataclass
from typing import Literal

from mms_bench.ctc.task import Task
from mms_bench.peers.base import Setup

Action = Literal["run", "switch-memory", "switch-disk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one call does."""

    action: Action
    languages: tuple[str, ...]
    """One a row of the audio, or those to switch to in turn."""
    audio: str = ""
    """A `.npy` file of float32[B, N]; empty for a switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Make the peer; the answer holds its versions."""

    peer: str
    setup: Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One step of a measurement."""

    step: Literal["build", "prepare", "first", "repeat", "memory"]
    workload: Workload | None = None
    """For `first` and `repeat` of a recogniser."""
    task: Task | None = None
    """For `first` and `repeat` of a decoder."""
    seconds: float = 0.0
    """For `repeat`: begin no call after this long; at least one is made."""
    most: int = 1
    """For `repeat`: make no more calls than this."""
    keep: str = ""
    """For `first`: a folder to write the result into, one `.npy` a row; empty for nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of it."""

    seconds: tuple[float, ...] = ()
    """Of each call."""
    peak_memory: int = 0
    """Bytes."""
    versions: dict[str, str] | None = None
    precision: str = ""
    """Of what was loaded, by `prepare`."""
    not_here: str = ""
    """Why the peer cannot do that; empty if it could."""
    error: str = ""
    """What went wrong; empty if nothing."""
