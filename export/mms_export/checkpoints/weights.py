"""Checkpoint tensors, read one at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class Weights(Protocol):
    """Named float32 tensors; nothing is kept in memory between reads."""

    def read(self, name: str) -> FloatArray:
        """Return a tensor."""
        ...


@dataclass(frozen=True, slots=True)
class Tensors:
    """Tensors with the shapes their files declare."""

    shapes: Mapping[str, tuple[int, ...]]
    reader: Callable[[str], FloatArray]

    def read(self, name: str) -> FloatArray:
        """Return a tensor."""
        return self.reader(name)
