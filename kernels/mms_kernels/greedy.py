"""Greedy CTC decoding: the most likely token of each frame, repeats collapsed, blanks removed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc, arrays

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class GreedyResult:
    """The tokens of one utterance in order of time; entry i of each array is token i."""

    tokens: Int32Array
    """Shape `[L]`: token ids."""
    starts: Int64Array
    """Shape `[L]`: first frame of each token (inclusive)."""
    ends: Int64Array
    """Shape `[L]`: frame after the last (exclusive)."""
    scores: Float32Array
    """Shape `[L]`: mean natural-log probability of the token over its frames."""
    peaks: Float32Array
    """Shape `[L]`: the greatest of these log-probabilities."""

    def __len__(self) -> int:
        return len(self.tokens)


def greedy_decode(
    logits: npt.NDArray[Any],
    lengths: Int64Array,
    *,
    blank: int = 0,
    kind: arrays.ScoreKind = "logits",
    threads: int = 1,
) -> list[GreedyResult]:
    """Decode a batch.

    Equal logits are decided for the lowest id. The result does not depend on `threads`, nor on
    what else is in the batch.

    Args:
        logits: Shape `[B, T, V]`, float32, float16 or bfloat16 (of ml_dtypes), C-contiguous.
            -inf rules a token out. The smaller types give the result of the same numbers as
            float32, without a copy.
        lengths: Shape `[B]`: valid frames of each row, at most T; frames beyond are not read.
        blank: Id of the blank.
        kind: "logits" need not be normalised; "log_probs" are scored as they are.
        threads: Threads to use at most, at least 1.

    Returns:
        B results.

    Raises:
        TypeError: an array of another type.
        ValueError: an array of another shape or memory order, a length or blank out of range, or
            a valid frame that holds NaN or +inf, or -inf for every token.
    """
    scores = arrays.scores("logits", logits, "BTV")
    arrays.check("lengths", lengths, ("int64",), "B")
    arrays.check_rows("logits", scores, "lengths", lengths)
    rows = _ctc.greedy_batch(scores, lengths, blank, kind, threads)
    return [GreedyResult(*row) for row in rows]


class GreedyDecoder:
    """Greedy decoding of one utterance that arrives in pieces.

    Any cut gives bit for bit the result of one piece. A step that raises leaves the decoder as
    it was.

    Args:
        blank: Id of the blank.
        kind: As for `greedy_decode`.
    """

    def __init__(self, blank: int = 0, *, kind: arrays.ScoreKind = "logits") -> None:
        self._stream = _ctc.GreedyStream(blank, kind)

    def __repr__(self) -> str:
        return f"GreedyDecoder({self.frames} frames)"

    @property
    def frames(self) -> int:
        """Frames read since the start of the utterance."""
        return self._stream.frames

    def step(self, logits: npt.NDArray[Any]) -> None:
        """Read the next frames.

        Args:
            logits: Shape `[T, V]`, C-contiguous, any of the three types; V is the same in each
                step.

        Raises:
            TypeError: an array of another type.
            ValueError: as for `greedy_decode`.
        """
        self._stream.step(arrays.scores("logits", logits, "TV"))

    def partial(self) -> GreedyResult:
        """Return all tokens so far. The last one may go on in the next step."""
        return GreedyResult(*self._stream.tokens())

    def finish(self) -> GreedyResult:
        """Return all tokens of the utterance, and start over."""
        result = self.partial()
        self._stream.reset()
        return result

    def copy(self) -> "GreedyDecoder":
        """Return a decoder in the same state that goes on independently."""
        twin = GreedyDecoder.__new__(GreedyDecoder)
        twin._stream = self._stream.copy()  # noqa: SLF001
        return twin
