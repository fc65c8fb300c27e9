"""Greedy CTC decoding: the most likely token of each frame, repeats collapsed, blanks removed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc

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
    """Shape `[L]`: mean natural-log probability of the token over its frames, ≤ 0."""
    peaks: Float32Array
    """Shape `[L]`: the greatest of these log-probabilities, ≤ 0."""

    def __len__(self) -> int:
        return len(self.tokens)


def greedy_decode(
    logits: Float32Array, lengths: Int64Array, *, blank: int = 0, threads: int = 1
) -> list[GreedyResult]:
    """Decode a batch.

    Equal logits are decided for the lowest id. The result does not depend on `threads`, nor on
    what else is in the batch.

    Args:
        logits: Shape `[B, T, V]`, C-contiguous; need not be normalised. -inf rules a token out.
        lengths: Shape `[B]`: valid frames of each row, at most T; frames beyond are not read.
        blank: Id of the blank.
        threads: Threads to use at most, at least 1.

    Returns:
        B results.

    Raises:
        TypeError: an array of another type.
        ValueError: an array of another shape or memory order, a length or blank out of range, or
            a valid frame that holds NaN or +inf, or -inf for every token.
    """
    _check("logits", logits, np.float32, 3)
    _check("lengths", lengths, np.int64, 1)
    if len(lengths) != len(logits):
        raise ValueError(f"logits has {len(logits)} rows, lengths has {len(lengths)}")
    rows = _ctc.greedy_batch(logits, lengths, blank, threads)
    return [GreedyResult(*arrays) for arrays in rows]


class GreedyDecoder:
    """Greedy decoding of one utterance that arrives in pieces.

    Any cut gives bit for bit the result of one piece. A step that raises leaves the decoder as
    it was.
    """

    def __init__(self, blank: int = 0) -> None:
        self._stream = _ctc.GreedyStream(blank)

    def __repr__(self) -> str:
        return f"GreedyDecoder({self.frames} frames)"

    @property
    def frames(self) -> int:
        """Frames read since the start of the utterance."""
        return self._stream.frames

    def step(self, logits: Float32Array) -> None:
        """Read the next frames.

        Args:
            logits: Shape `[T, V]`, C-contiguous; V is the same in each step.

        Raises:
            TypeError: an array of another type.
            ValueError: as for `greedy_decode`.
        """
        _check("logits", logits, np.float32, 2)
        self._stream.step(logits)

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


def _check(name: str, array: object, dtype: type[np.generic], ndim: int) -> None:
    wanted = f"{np.dtype(dtype)}[{', '.join('BTV'[3 - ndim :] if ndim > 1 else 'B')}]"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array {wanted}, got {type(array).__name__}")
    got = f"{array.dtype}{list(array.shape)}"
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {wanted}, got {got}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must be {wanted}, got {got}")
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-contiguous, got strides {list(array.strides)} for {got}: "
            "pass numpy.ascontiguousarray of it"
        )
