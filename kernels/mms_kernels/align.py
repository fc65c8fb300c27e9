"""CTC forced alignment: the frames of each token of a given text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc, arrays
from mms_kernels.arrays import Float32Array, Int64Array, Integers, ScoreKind

STAR = -1
"""Conventional id of the wildcard in targets."""


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """A token and its frames."""

    token: int
    start: int
    """First frame (inclusive)."""
    end: int
    """Frame after the last (exclusive)."""
    score: float
    """Mean natural-log probability of the token over its frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The best path of one target; entry i of each array belongs to token i."""

    tokens: Int64Array
    """Shape `[L]`: the target."""
    starts: Int64Array
    """Shape `[L]`: first frame of each token (inclusive)."""
    ends: Int64Array
    """Shape `[L]`: frame after the last (exclusive), greater than the start."""
    scores: Float32Array
    """Shape `[L]`: mean natural-log probability of the token over its frames."""
    score: float
    """Natural-log probability of the whole path, blanks included."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def spans(self) -> tuple[TokenSpan, ...]:
        """The same data as one value per token."""
        columns = (self.tokens, self.starts, self.ends, self.scores)
        return tuple(map(TokenSpan, *(column.tolist() for column in columns)))


def forced_align(
    logits: npt.NDArray[Any],
    targets: Integers,
    lengths: Integers | None = None,
    target_lengths: Integers | None = None,
    *,
    blank: int = 0,
    star: int | None = None,
    star_score: float = 0.0,
    kind: ScoreKind = "logits",
    max_bytes: int = 256 << 20,
    band: int | None = None,
    threads: int = 1,
) -> list[Alignment]:
    """Find the most likely CTC path of each row's target.

    Among equally likely paths, the one on which every token begins earliest is returned. No bit of
    the result depends on `max_bytes`, `band`, `threads` or the rest of the batch.

    Args:
        logits: Shape `[B, T, V]`, or `[T, V]` for one row; float32, float16 or bfloat16
            (ml_dtypes), C-contiguous. -inf rules a token out.
        targets: Shape `[B, L]`, or `[L]`: token ids without blanks.
        lengths: Shape `[B]`: valid frames of each row; frames beyond are not read. None: all T.
        target_lengths: Shape `[B]`: valid tokens of each row of `targets`. None: all L.
        blank: Id of the blank.
        star: Id of a wildcard in `targets`, often `STAR`; not a token of the logits. It acts as
            an additional column of constant log-probability `star_score`. None: no wildcard.
        star_score: Natural-log probability of the wildcard in each frame, at most 0.
        kind: "logits" are normalised with a log-softmax; "log_probs" are used unchanged.
        max_bytes: Limit of the call's working memory, without arguments and results.
        band: Try first only paths on which token j lies within this many frames of frame j·T/L.
            The band is doubled until a bound proves that all other paths are worse. None: no band.
        threads: Maximum number of threads, at least 1; a row runs on one thread.

    Raises:
        TypeError: An array of another dtype.
        ValueError: An array of another shape or memory order; a length, id or option out of range;
            a target longer than its frames allow (each token takes a frame, and a repeated one a
            blank before it); a valid frame with NaN or +inf, or with -inf for every token; a
            target of probability zero; a `max_bytes` that is too small.
    """
    if band is not None and band < 1:
        raise ValueError(f"band is {band}, it must be at least 1, or None")
    scores, ids = _batch(logits, targets)
    sizes = _lengths("target_lengths", target_lengths, ids)
    rows = _ctc.align_batch(
        scores,
        _lengths("lengths", lengths, scores),
        ids,
        sizes,
        kind=kind,
        blank=blank,
        star=star,
        star_score=star_score,
        max_bytes=max_bytes,
        band=band or 0,
        threads=threads,
    )
    return [Alignment(ids[i, : sizes[i]], *row) for i, row in enumerate(rows)]


def _batch(logits: object, targets: object) -> tuple[npt.NDArray[Any], Int64Array]:
    """Return both arrays with a batch axis."""
    is_row = isinstance(logits, np.ndarray) and logits.ndim == 2
    scores = arrays.scores("logits", logits, "TV" if is_row else "BTV")
    ids = arrays.integers("targets", targets, "L" if is_row else "BL")
    if is_row:
        scores, ids = scores[None], ids[None]
    arrays.check_rows("logits", scores, "targets", ids)
    return scores, ids


def _lengths(name: str, lengths: Integers | None, batch: npt.NDArray[Any]) -> Int64Array:
    if lengths is None:
        return np.full(len(batch), batch.shape[1], np.int64)
    given = arrays.integers(name, lengths, "B")
    arrays.check_rows(name, given, "the batch", batch)
    return given
