"""The context that encodes the whole utterance anew, and keeps what two runs agree on.

LocalAgreement-2 of Liu et al. (Interspeech 2020), as whisper_streaming has it, on CTC paths: tokens
are decided once two runs in succession begin with them.
"""

from typing import Any

import numpy as np

from mms_engine.streaming.contexts import Encoded, EncoderRow, FeatureTail, Plan, Reading, Sizes
from mms_engine.types import Float32Array
from mms_engine.vocab import BLANK


class GrowingContext:
    """Encodes the last `left` frames at most, in steps of `chunk`."""

    def __init__(self, sizes: Sizes, feature_size: int) -> None:
        self.sizes = sizes
        self._begin = 0
        self._kept = 0
        self._heard = 0
        self._features = FeatureTail(feature_size)
        self._former = np.zeros(0, np.int64)

    @property
    def featured(self) -> int:
        """Frames whose features are there already."""
        return self._features.end

    def plan(self, heard: int, *, ended: bool) -> Plan | None:
        """Return the next step; it decides nothing yet but where the audio has ended."""
        end = self._heard + self.sizes.chunk
        if heard > end or (heard == end and not ended):
            return Plan(self._kept, self._kept, end)
        if ended and heard > self._kept:
            return Plan(self._kept, heard, heard)
        return None

    def row(self, plan: Plan, new: Float32Array) -> EncoderRow:
        """Return all frames up to the limit."""
        self._features.append(new)
        self._features.forget(max(self._begin, min(self._kept, plan.end - self.sizes.left)))
        return EncoderRow(self._features.span(self._features.first, plan.end))

    def read(self, plan: Plan, encoded: Encoded) -> Reading:
        """Keep what this run and the last agree on; near the limit, what has to be."""
        logits = encoded.logits[plan.start - self._features.first :]
        path = logits.argmax(axis=-1)
        count = len(logits)
        if plan.kept < plan.end:
            overdue = max(0, plan.end - self.sizes.left // 2 - self._kept)
            count = max(overdue, agreed_frames(self._former, path))
        self._kept += count
        self._heard = plan.end
        self._former = path[count:]
        return Reading(logits[:count], logits[count:])

    def reset(self, frame: int) -> None:
        """Begin anew at a frame."""
        self._begin = self._kept = self._heard = frame
        self._former = self._former[:0]
        self._features.reset(frame)

    def state(self) -> dict[str, Any]:
        """Return all that has to be known to go on elsewhere."""
        return {
            "begin": self._begin,
            "kept": self._kept,
            "heard": self._heard,
            "former": self._former,
            "first": self._features.first,
            "rows": self._features.rows,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._begin, self._kept = state["begin"], state["kept"]
        self._heard, self._former = state["heard"], state["former"]
        self._features.first, self._features.rows = state["first"], state["rows"]

    def release(self) -> None:
        """Do nothing: features are in host memory."""


def agreed_frames(former: np.ndarray, path: np.ndarray) -> int:
    """Return up to which frame of `path` its tokens are those that `former` begins with.

    Args:
        former: Best token of each frame in the run before, int64 `[M]`.
        path: The same frames and later ones in this run, int64 `[N]`.

    Returns:
        Frames up to the end of the last token that both have, and that is whole in both.
    """
    before, now = _spans(former), _spans(path)
    agreed = 0
    # The last token of the former run may have been cut off by the end of its audio.
    for (token, _), (other, end) in zip(before[:-1], now, strict=False):
        if token != other:
            break
        agreed = end
    return agreed


def _spans(path: np.ndarray) -> list[tuple[int, int]]:
    """Return each token of a CTC path and the frame after its last."""
    if not len(path):
        return []
    ends = np.flatnonzero(np.append(path[1:] != path[:-1], True)) + 1
    return [(int(path[end - 1]), int(end)) for end in ends if path[end - 1] != BLANK]
