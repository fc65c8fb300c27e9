"""Several arrays in one buffer, so that one copy moves them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.memory import DeviceArray, Shape

ALIGNMENT = 256
"""Bytes that every address divides by: TensorRT asks for it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where one array lies."""

    offset: int
    """Bytes from the buffer's beginning."""
    shape: Shape
    dtype: "np.dtype[Any]"

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def of(self, memory: "npt.NDArray[np.uint8]") -> npt.NDArray[Any]:
        """Return the array within the buffer's bytes."""
        return memory[self.offset : self.offset + self.size].view(self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each array lies, by name."""

    parts: Mapping[str, Part]
    size: int
    """Bytes of all."""

    def of(self, memory: "npt.NDArray[np.uint8]") -> dict[str, npt.NDArray[Any]]:
        """Return the arrays within a buffer of the host."""
        return {name: part.of(memory) for name, part in self.parts.items()}

    def on_device(self, memory: DeviceArray) -> dict[str, DeviceArray]:
        """Return the arrays within a buffer of the device, uint8 `[size]`."""
        return {
            name: memory.view(part.shape, part.dtype, offset=part.offset)
            for name, part in self.parts.items()
        }


def pack(**arrays: tuple[Shape, str]) -> Layout:
    """Lay arrays of a shape and dtype one behind the other, each aligned."""
    parts, end = {}, 0
    for name, (shape, dtype) in arrays.items():
        part = parts[name] = Part(end, shape, np.dtype(dtype))
        end += -(-part.size // ALIGNMENT) * ALIGNMENT
    return Layout(parts, end)
