"""Where utterances end, from the encoder's best tokens: the rules of `EndpointOptions`."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.streaming.events import EndReason
from mms_engine.streaming.options import LONGEST_SECONDS, EndpointOptions

_GAP_SECONDS = 0.1
"""Silence between words at which an utterance that is too long may be cut."""
_SLACK = 1.25
"""Times its greatest length at which an utterance is cut inside a word."""
_UNRULED = EndpointOptions(
    silence_seconds=math.inf, pause_seconds=math.inf, max_seconds=LONGEST_SECONDS
)
"""What holds without rules, so that memory is bounded."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An utterance ends after so many of the frames that were looked at."""

    frames: int
    reason: EndReason | None
    """`None` where silence goes on that was told before: there is nothing to tell."""


class Endpointer:
    """Counts frames of speech and silence in the utterance so far."""

    def __init__(self, options: EndpointOptions | None, frame_seconds: float) -> None:
        self._options = options or _UNRULED
        self._frame_seconds = frame_seconds
        self.start()
        self._told = False

    def start(self) -> None:
        """A new utterance begins."""
        self._length = self._silence = 0
        self.spoken = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing was said for as long as ends an utterance, and nothing since."""
        return self._told and not self.spoken

    def find(self, speech: npt.NDArray[np.bool_]) -> Cut | None:
        """Look at frames, bool `[N]`, in order; stop where the utterance ends.

        Frames behind the cut are not counted: give them again after `start`.
        """
        for index, is_speech in enumerate(speech.tolist()):
            self._length += 1
            if is_speech:
                self.spoken, self._silence, self._told = True, 0, False
            else:
                self._silence += 1
            cut = self._cut(index + 1)
            if cut is not None:
                return cut
        return None

    def _cut(self, frames: int) -> Cut | None:
        options = self._options
        silence = round(self._silence * self._frame_seconds, 6)
        if not self.spoken:
            # Silence that goes on is cut off too: it would fill memory, and the next utterance
            # would begin at its greatest length.
            if silence < min(options.silence_seconds, options.max_seconds):
                return None
            tell = silence >= options.silence_seconds and not self._told
            self._told |= tell
            return Cut(frames, "silence" if tell else None)
        if silence >= options.pause_seconds:
            self._told = True
            return Cut(frames, "pause")
        over = self._length * self._frame_seconds / options.max_seconds
        if over >= _SLACK or (over >= 1 and silence >= _GAP_SECONDS):
            return Cut(frames, "length")
        return None

    def state(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "length": self._length,
            "silence": self._silence,
            "spoken": self.spoken,
            "told": self._told,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from counts."""
        self._length, self._silence = state["length"], state["silence"]
        self.spoken, self._told = state["spoken"], state["told"]
