"""Endpoint detection on the encoder's best tokens, by the rules of `EndpointOptions`."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.asr.streaming.events import EndReason
from mms_engine.asr.streaming.options import LONGEST_SECONDS, EndpointOptions

_GAP_SECONDS = 0.1
"""Silence between words at which an utterance of maximum length may end."""
_SLACK = 1.25
"""Multiple of the maximum length at which an utterance ends even inside a word."""
_UNRULED = EndpointOptions(
    silence_seconds=math.inf, pause_seconds=math.inf, max_seconds=LONGEST_SECONDS
)
"""Rules where the caller sets none, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Cut:
    """End of an utterance, counted in the frames given to `find`."""

    frames: int
    reason: EndReason | None
    """`None` in silence that continues after a reported endpoint: no event follows."""


class Endpointer:
    """Counter of speech and silence frames in the current utterance."""

    def __init__(self, options: EndpointOptions | None, frame_seconds: float) -> None:
        self._options = options or _UNRULED
        self._frame_seconds = frame_seconds
        self.start()
        self._reported = False

    def start(self) -> None:
        """Begin an utterance."""
        self._length = self._silence = 0
        self.spoken = False

    @property
    def is_idle(self) -> bool:
        """Whether silence was reported and no speech has followed."""
        return self._reported and not self.spoken

    def find(self, speech: npt.NDArray[np.bool_]) -> Cut | None:
        """Count frames of speech, bool `[N]`, up to the end of the utterance.

        Frames after the cut are not counted: pass them again after `start`.
        """
        for index, is_speech in enumerate(speech.tolist()):
            self._length += 1
            if is_speech:
                self.spoken, self._silence, self._reported = True, 0, False
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
            # Continuing silence is cut too: it would fill memory, and the next utterance would
            # start at its maximum length.
            if silence < min(options.silence_seconds, options.max_seconds):
                return None
            report = silence >= options.silence_seconds and not self._reported
            self._reported |= report
            return Cut(frames, "silence" if report else None)
        if silence >= options.pause_seconds:
            self._reported = True
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
            "reported": self._reported,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the counts."""
        self._length, self._silence = state["length"], state["silence"]
        self.spoken, self._reported = state["spoken"], state["reported"]
