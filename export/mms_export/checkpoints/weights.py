"""Checkpoint weights: float32 tensors by name, read one at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """Named float32 tensors; nothing is kept in memory between reads."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes that their files declare."""
    read: Callable[[str], FloatArray]
    """Returns a tensor."""
