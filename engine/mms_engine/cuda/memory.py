"""Arrays on the device, and arrays of host memory that the device copies from and to."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """C-contiguous values in device memory: an allocation, or part of one.

    Made, used and freed inside `CudaDevice.active`.
    """

    address: int
    """Of the first value, as kernels and TensorRT take it."""
    shape: Shape
    dtype: "np.dtype[Any]"
    """bfloat16 is uint16 here: its bits."""
    allocation: Any = field(repr=False)
    """pycuda's; held so that the memory lives as long as any part of it."""

    @classmethod
    def empty(cls, device: CudaDevice, shape: Shape, dtype: npt.DTypeLike) -> Self:
        """Allocate an array of unknown content.

        Raises:
            pycuda.driver.MemoryError: turned into DeviceMemoryError by `CudaDevice.active`.
        """
        kind = np.dtype(dtype)
        allocation = device.driver.mem_alloc(max(1, math.prod(shape) * kind.itemsize))
        return cls(int(allocation), shape, kind, allocation)

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """What numba, CuPy and torch read; see the CUDA Array Interface, version 3."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "data": (self.address, False),
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> Self:
        """Return rows `[start, stop)` of the first axis, over the same memory."""
        if not 0 <= start <= stop <= self.shape[0]:
            raise ValueError(f"rows [{start}, {stop}) are not in an array of {self.shape}")
        row = self.nbytes // max(1, self.shape[0])
        return replace(
            self, address=self.address + start * row, shape=(stop - start, *self.shape[1:])
        )

    def row(self, index: int) -> Self:
        """Return one of the first axis, over the same memory."""
        one = self.rows(index, index + 1)
        return replace(one, shape=one.shape[1:])

    def view(self, shape: Shape, dtype: npt.DTypeLike | None = None, *, offset: int = 0) -> Self:
        """Return what lies `offset` bytes behind the first value as another shape and dtype."""
        seen = replace(self, shape=shape, dtype=np.dtype(dtype or self.dtype))
        if offset < 0 or offset + seen.nbytes > self.nbytes:
            raise ValueError(
                f"{seen.dtype}{list(shape)} at byte {offset} is not within {self.nbytes} bytes"
            )
        return replace(seen, address=self.address + offset)

    def free(self) -> None:
        """Give the whole allocation back; no work that uses it may be pending."""
        self.allocation.free()


class Buffer:
    """Device memory that is used again and again and grows when it is too small."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._memory: DeviceArray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes it has now."""
        return self._memory.nbytes if self._memory else 0

    def take(self, shape: Shape, dtype: npt.DTypeLike) -> DeviceArray:
        """Return an array at the buffer's beginning; those taken before are overwritten.

        Growing waits for all work of the device, and moves the buffer.
        """
        needed = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        if self._memory is None or self._memory.nbytes < needed:
            self.free()
            self._memory = DeviceArray.empty(self._device, (needed,), np.uint8)
        return self._memory.view(shape, dtype)

    def free(self) -> None:
        """Give the memory back, after all work of the device."""
        if self._memory is not None:
            self._device.driver.Context.synchronize()
            self._memory.free()
            self._memory = None


@dataclass(frozen=True, slots=True, eq=False)
class PinnedArray:
    """Host memory that stays in place, so that copies from and to it run beside the host."""

    array: npt.NDArray[Any]
    """Not to be touched while a copy that uses it is pending."""
    allocation: Any = field(repr=False)

    @classmethod
    def empty(cls, device: CudaDevice, shape: Shape, dtype: npt.DTypeLike) -> Self:
        """Allocate an array of unknown content."""
        array = device.driver.pagelocked_empty(shape, np.dtype(dtype))
        return cls(array, array.base)

    def free(self) -> None:
        """Give the memory back; the array must not be used again."""
        self.allocation.free()
