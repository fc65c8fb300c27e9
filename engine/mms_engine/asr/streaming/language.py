"""Protocols of streams that find their own language. Their implementation lies above this room."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mms_engine.types import Float32Array

AUTO = "auto"
"""Language of a stream that finds its own."""


@dataclass(frozen=True, slots=True, eq=False)
class LanguageStep:
    """Windows of a stream whose language is identified next."""

    windows: tuple[Float32Array, ...]
    """Samples at a full scale of ±1, each `[N]`."""


@dataclass(frozen=True, slots=True)
class LanguageDecision:
    """Language of a stream from a frame on."""

    label: str
    """Label of the identification model."""
    code: str | None
    """Code of its adapter; `None` for a language without one, which has no text."""
    probability: float
    """Probability among the languages to choose from, in [0, 1]."""
    frame: int
    """Frame of the stream from which it applies."""


class LanguageTracker(Protocol):
    """Decider of the language of one stream. Frames are counted from the start of the stream.

    It takes the audio in hops and returns windows to classify; `take` reads their logits. What it
    decides depends on the frames alone, not on how the audio was cut.
    """

    hop: int
    """Frames of one hop."""
    lookback: int
    """Frames before `position` that windows and decisions may go back to."""

    @property
    def position(self) -> int:
        """Frame up to which it took the audio."""
        ...

    @property
    def due(self) -> int:
        """Position before which no window is due."""
        ...

    @property
    def settled(self) -> int:
        """Frame before which no later decision applies."""
        ...

    @property
    def unused(self) -> int:
        """Frame before which no speech waits for a language; used while there is none."""
        ...

    def add(self, samples: Float32Array) -> None:
        """Take the audio of the next frames, whole strides at a full scale of ±1, `[N]`."""
        ...

    def windows(self, *, ended: bool) -> Sequence[tuple[int, int]]:
        """Return the windows of frames to classify now; none while more audio is needed.

        Args:
            ended: Whether the utterance ends at `position`, so that it must be decided.
        """
        ...

    def take(self, logits: Sequence[Float32Array]) -> LanguageDecision | None:
        """Take the logits `[C]` of each window of the last call; return a new decision."""
        ...

    def begin(self, frame: int) -> None:
        """Begin an utterance at a frame: decisions apply from there on."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        ...


class LanguageFinder(Protocol):
    """Identification model of streams. Methods may be called from several threads at once."""

    languages: tuple[str, ...]
    """Codes of the adapters to choose from, at least one."""

    def tracker(self) -> LanguageTracker:
        """Return the tracker of a new stream."""
        ...

    def logits(self, windows: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the logits `[C]` of windows of samples `[N]` at a full scale of ±1.

        Raises:
            BackendError: the device failed.
        """
        ...

    def with_threads(self, threads: int | None) -> "LanguageFinder":
        """Return the same model with another number of threads per run."""
        ...
