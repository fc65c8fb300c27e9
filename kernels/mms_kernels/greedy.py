"""Greedy CTC decoding: the most likely token of each frame, repeats collapsed, blanks removed."""

from typing import Any

import numpy.typing as npt

from mms_kernels import _ctc, arrays
from mms_kernels.arrays import Int64Array, ScoreKind, TimedTokens


class GreedyResult(TimedTokens):
    """Tokens of one utterance."""

    __slots__ = ()


def greedy_decode(
    logits: npt.NDArray[Any],
    lengths: Int64Array,
    *,
    blank: int = 0,
    kind: ScoreKind = "logits",
    threads: int = 1,
) -> list[GreedyResult]:
    """Decode a batch.

    Among equal logits the lowest id wins. A result depends neither on `threads` nor on the rest
    of the batch.

    Args:
        logits: Shape `[B, T, V]`, float32, float16 or bfloat16 (ml_dtypes), C-contiguous. -inf
            rules a token out. Half-precision input gives the bits of the same values in float32.
        lengths: Shape `[B]`: valid frames of each row, at most T; frames beyond are not read.
        blank: Id of the blank.
        kind: "logits" are normalised with a log-softmax; "log_probs" are used unchanged.
        threads: Maximum number of threads, at least 1.

    Returns:
        One result per row.

    Raises:
        TypeError: An array of another dtype.
        ValueError: An array of another shape or memory order, a length or blank out of range, or
            a valid frame with NaN or +inf, or with -inf for every token.
    """
    scores = arrays.batch_scores(logits, lengths)
    rows = _ctc.greedy_batch(scores, lengths, blank, kind, threads)
    return [GreedyResult(*row) for row in rows]


class GreedyDecoder:
    """Greedy decoding of one utterance that arrives in chunks.

    Any chunking gives the same bits. A step that raises leaves the decoder unchanged.

    Args:
        blank: Id of the blank.
        kind: As for `greedy_decode`.
    """

    def __init__(self, blank: int = 0, *, kind: ScoreKind = "logits") -> None:
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
            logits: Shape `[T, V]`, with the dtypes of `greedy_decode`; V is constant.

        Raises:
            TypeError: An array of another dtype.
            ValueError: As for `greedy_decode`.
        """
        self._stream.step(arrays.scores("logits", logits, "TV"))

    def partial(self) -> GreedyResult:
        """Return all tokens so far. The next step may extend the last one."""
        return GreedyResult(*self._stream.tokens())

    def finish(self) -> GreedyResult:
        """Return all tokens of the utterance and reset the decoder."""
        result = self.partial()
        self._stream.reset()
        return result

    def copy(self) -> "GreedyDecoder":
        """Return an independent decoder in the same state."""
        twin = GreedyDecoder.__new__(GreedyDecoder)
        twin._stream = self._stream.copy()  # noqa: SLF001
        return twin
