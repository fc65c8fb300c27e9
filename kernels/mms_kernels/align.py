"""Forced alignment: where in the audio the tokens of a given text are."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer]

STAR = -1
"""The id that stands for "anything" in a target, by convention."""


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """One token and the frames that it takes."""

    token: int
    start: int
    """First frame (inclusive)."""
    end: int
    """Frame after the last (exclusive)."""
    score: float
    """Mean natural-log probability of the token over its frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The best path for one target; entry i of each array is token i of the target."""

    tokens: Int64Array
    """Shape `[L]`: the target."""
    starts: Int64Array
    """Shape `[L]`: first frame of each token (inclusive)."""
    ends: Int64Array
    """Shape `[L]`: frame after the last (exclusive); greater than the start."""
    scores: Float32Array
    """Shape `[L]`: mean natural-log probability of the token over its frames."""
    score: float
    """Natural-log probability of the whole path, blanks included."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def spans(self) -> tuple[TokenSpan, ...]:
        """The same as one value for each token."""
        columns = (self.tokens, self.starts, self.ends, self.scores)
        return tuple(map(TokenSpan, *(column.tolist() for column in columns)))


def forced_align(
    logits: Float32Array,
    targets: Integers,
    lengths: Integers | None = None,
    target_lengths: Integers | None = None,
    *,
    blank: int = 0,
    star: int | None = None,
    star_score: float = 0.0,
    kind: Literal["logits", "log_probs"] = "logits",
    max_bytes: int = 256 << 20,
    band: int | None = None,
    threads: int = 1,
) -> list[Alignment]:
    """Find the most likely CTC path whose tokens are the target, for each row of a batch.

    Of equally good paths the one is taken that is ahead of all others in every frame: each token
    begins as early as it can. Formulas and exactness: `csrc/include/mms/align.h`. No bit of the
    result depends on `max_bytes`, `band`, `threads` or what else is in the batch.

    Args:
        logits: Shape `[B, T, V]`, or `[T, V]` for one row, C-contiguous. -inf rules a token out.
        targets: Shape `[B, L]`, or `[L]`: token ids, without blanks.
        lengths: Shape `[B]`: valid frames of each row; frames beyond are not read. None: all T.
        target_lengths: Shape `[B]`: valid tokens of each row of `targets`. None: all L.
        blank: Id of the blank.
        star: Id that stands for any sound in `targets`, often `STAR`; not a token of the logits.
            It acts as one more column of log-probabilities, all `star_score`. None: no such id.
        star_score: Log-probability of the star in each frame, at most 0.
        kind: Whether `logits` still need a log-softmax, or are log-probabilities.
        max_bytes: Bound on the working memory of the call, that of arguments and results aside.
        band: Try first only paths on which token j is within so many frames of frame j·T/L. Where
            no bound proves that the others are worse, the band is doubled. None: no band.
        threads: Threads to use at most, at least 1; one for each row.

    Raises:
        TypeError: an array of another type.
        ValueError: an array of another shape or memory order; a length, id or option out of range;
            a target longer than its frames allow (a token takes a frame, and a repeated one a
            blank before it); a valid frame that holds NaN or +inf, or -inf for every token; a
            target that has probability zero; a `max_bytes` that is too small.
    """
    _check_options(kind, band)
    batch, ids = _rows(logits, targets)
    sizes = _lengths("target_lengths", target_lengths, ids)
    rows = _ctc.align_batch(
        batch,
        _lengths("lengths", lengths, batch),
        ids,
        sizes,
        log_probs=kind == "log_probs",
        blank=blank,
        star=star,
        star_score=star_score,
        max_bytes=max_bytes,
        band=band or 0,
        threads=threads,
    )
    return [Alignment(ids[i, : sizes[i]], *row) for i, row in enumerate(rows)]


def _check_options(kind: str, band: int | None) -> None:
    if kind not in ("logits", "log_probs"):
        raise ValueError(f"kind is {kind!r}, it must be 'logits' or 'log_probs'")
    if band is not None and band < 1:
        raise ValueError(f"band is {band}, it must be at least 1, or None")


def _rows(logits: object, targets: object) -> tuple[Float32Array, Int64Array]:
    """Return both arrays with a batch axis."""
    batch = _batch("logits", logits, "float32", "BTV")
    if not batch.flags.c_contiguous:
        raise ValueError("logits must be C-contiguous: pass numpy.ascontiguousarray of it")
    ids = np.ascontiguousarray(_batch("targets", targets, "integer", "BL"), np.int64)
    if len(ids) != len(batch):
        raise ValueError(f"logits has {len(batch)} rows, targets has {len(ids)}")
    return batch, ids


def _batch(name: str, array: object, dtype: str, axes: str) -> npt.NDArray[Any]:
    """Return `array` with a batch axis."""
    wanted = f"{dtype}[{', '.join(axes)}] or [{', '.join(axes[1:])}]"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array {wanted}, got {type(array).__name__}")
    got = f"{array.dtype}{list(array.shape)}"
    if not np.issubdtype(array.dtype, getattr(np, dtype)):
        raise TypeError(f"{name} must be {wanted}, got {got}")
    if array.ndim not in (len(axes) - 1, len(axes)):
        raise ValueError(f"{name} must be {wanted}, got {got}")
    return array if array.ndim == len(axes) else array[None]


def _lengths(name: str, lengths: object, batch: npt.NDArray[Any]) -> Int64Array:
    if lengths is None:
        return np.full(len(batch), batch.shape[1], np.int64)
    given = np.asarray(lengths)
    if not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {given.dtype}")
    if given.shape != (len(batch),):
        raise ValueError(f"{name} must have shape [{len(batch)}], got {list(given.shape)}")
    return given.astype(np.int64)
