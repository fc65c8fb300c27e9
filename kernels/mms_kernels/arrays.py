"""Checks of the arrays that the kernels take: one clear error each, and no copy."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

ScoreKind = Literal["logits", "log_probs"]
"""What an acoustic model's numbers are: raw, or natural-log probabilities taken as they are."""

FLOATS = ("float32", "float16", "bfloat16")
"""Types of scores. NumPy lacks bfloat16; package ml_dtypes, for one, has it."""


def scores(name: str, array: object, axes: str) -> npt.NDArray[Any]:
    """Check scores of an acoustic model and return them as the native module takes them.

    Args:
        name: What an error calls the array.
        array: float32, float16 or bfloat16.
        axes: A letter for each dimension, e.g. "BTV".

    Returns:
        The same memory; bfloat16, which the buffer protocol cannot name, as uint16.

    Raises:
        TypeError: no array, or one of another type.
        ValueError: another rank or memory order.
    """
    checked = check(name, array, FLOATS, axes)
    return checked.view(np.uint16) if checked.dtype.name == "bfloat16" else checked


def check(name: str, array: object, dtypes: Sequence[str], axes: str) -> npt.NDArray[Any]:
    """Return an array of one of these types, of this rank, aligned and C-contiguous.

    Args:
        name: What an error calls the array.
        array: What was passed.
        dtypes: Names of the types that are taken, in this machine's byte order.
        axes: A letter for each dimension.

    Raises:
        TypeError: no array, or one of another type.
        ValueError: another rank or memory order.
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
            f"{got}: pass numpy.array of it, order C"
        )
    return array


def check_rows(name: str, array: npt.NDArray[Any], other: str, rows: npt.NDArray[Any]) -> None:
    """Raise ValueError unless the two arrays have the same number of rows."""
    if len(array) != len(rows):
        raise ValueError(f"{name} has {len(array)} rows, {other} has {len(rows)}")


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
