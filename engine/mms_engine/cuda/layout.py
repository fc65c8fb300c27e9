"""Layouts of several arrays in one buffer, which one copy transfers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.memory import DeviceArray, Shape

ALIGNMENT = 256
"""Alignment of every array in bytes, as TensorRT requires."""


@dataclass(frozen=True, slots=True)
class Part:
    """Position of one array in the buffer."""

    offset: int
    """Bytes from the start of the buffer."""
    shape: Shape
    dtype: "np.dtype[Any]"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def of(self, memory: "npt.NDArray[np.uint8]") -> npt.NDArray[Any]:
        """Return the array within the buffer's bytes."""
        return memory[self.offset : self.offset + self.size].view(self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of arrays in a buffer, by name."""

    parts: Mapping[str, Part]
    size: int
    """Size of the buffer in bytes."""

    def of(self, memory: "npt.NDArray[np.uint8]") -> dict[str, npt.NDArray[Any]]:
        """Return the arrays within a host buffer."""
        return {name: part.of(memory) for name, part in self.parts.items()}

    def on_device(self, memory: DeviceArray) -> dict[str, DeviceArray]:
        """Return the arrays within a device buffer, uint8 `[size]`."""
        return {
            name: memory.view(part.shape, part.dtype, offset=part.offset)
            for name, part in self.parts.items()
        }


def pack(**arrays: tuple[Shape, str]) -> Layout:
    """Return the layout of consecutive aligned arrays, each given as shape and dtype."""
    parts, end = {}, 0
    for name, (shape, dtype) in arrays.items():
        part = parts[name] = Part(end, shape, np.dtype(dtype))
        end += -(-part.size // ALIGNMENT) * ALIGNMENT
    return Layout(parts, end)
