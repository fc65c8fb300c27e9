"""Argument checks and value types shared by the decoders: one clear error each, no copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer]

ScoreKind = Literal["logits", "log_probs"]
"""Kind of the acoustic model's output: raw logits, or natural-log probabilities used unchanged."""

FLOATS = ("float32", "float16", "bfloat16")
"""Supported dtypes. NumPy has no bfloat16; the package ml_dtypes provides it."""


@dataclass(frozen=True, slots=True, eq=False)
class TimedTokens:
    """Tokens in order of time; entry i of each array belongs to token i."""

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


def scores(name: str, array: object, axes: str) -> npt.NDArray[Any]:
    """Check logits or log-probabilities and return them as the native module takes them.

    Args:
        name: Name of the array in errors.
        array: float32, float16 or bfloat16, C-contiguous.
        axes: One letter per dimension, such as "BTV".

    Returns:
        The same memory; bfloat16, which the buffer protocol cannot name, as uint16.

    Raises:
        TypeError: Not an array, or another dtype.
        ValueError: Another rank or memory order.
    """
    checked = check(name, array, FLOATS, axes)
    return checked.view(np.uint16) if checked.dtype.name == "bfloat16" else checked


def batch_scores(array: object, lengths: object) -> npt.NDArray[Any]:
    """Check logits `[B, T, V]` together with their lengths `int64[B]`; see `scores`."""
    checked = scores("logits", array, "BTV")
    check_rows("logits", checked, "lengths", check("lengths", lengths, ("int64",), "B"))
    return checked


def check(name: str, array: object, dtypes: Sequence[str], axes: str) -> npt.NDArray[Any]:
    """Return an array of one of the dtypes, with one dimension per axis, C-contiguous and aligned.

    Args:
        name: Name of the array in errors.
        array: The argument.
        dtypes: Accepted dtypes, in native byte order.
        axes: One letter per dimension.

    Raises:
        TypeError: Not an array, or another dtype.
        ValueError: Another rank or memory order.
    """
    wanted = f"{_either(dtypes)}[{', '.join(axes)}]"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array {wanted}, got {type(array).__name__}")
    order = "" if array.dtype.isnative else " of foreign byte order"
    got = f"{array.dtype.name}{list(array.shape)}{order}"
    if array.dtype.name not in dtypes or not array.dtype.isnative:
        raise TypeError(f"{name} must be {wanted}, got {got}")
    if array.ndim != len(axes):
        raise ValueError(f"{name} must be {wanted}, got {got}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(
            f"{name} must be C-contiguous and aligned, got strides {list(array.strides)} for "
            f"{got}: pass numpy.ascontiguousarray(array)"
        )
    return array


def check_rows(name: str, array: npt.NDArray[Any], other: str, rows: npt.NDArray[Any]) -> None:
    """Raise ValueError unless the two arrays have the same number of rows."""
    if len(array) != len(rows):
        raise ValueError(f"{name} has {len(array)} rows, {other} has {len(rows)}")


def integers(name: str, array: object, axes: str) -> Int64Array:
    """Return integers of any dtype and memory order as C-contiguous int64.

    Raises:
        TypeError: Not integers.
        ValueError: Another rank.
    """
    given = np.asarray(array)
    wanted = f"{name} must be integers [{', '.join(axes)}]"
    if given.dtype.kind not in "iu":
        raise TypeError(f"{wanted}, got {given.dtype.name}{list(given.shape)}")
    if given.ndim != len(axes):
        raise ValueError(f"{wanted}, got {given.dtype.name}{list(given.shape)}")
    return np.ascontiguousarray(given, np.int64)


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
