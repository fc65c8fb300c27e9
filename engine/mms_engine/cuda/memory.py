"""Arrays in device memory and in pinned host memory."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mms_engine.cuda.context import CudaDevice

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """C-contiguous array in device memory: an allocation, or part of one.

    Made, used and freed inside `CudaDevice.active`.
    """

    address: int
    """Device address of the first value."""
    shape: Shape
    dtype: "np.dtype[Any]"
    """uint16 for the bits of bfloat16."""
    allocation: Any = field(repr=False)
    """Allocation of the driver, kept alive by every view."""

    @classmethod
    def empty(cls, device: CudaDevice, shape: Shape, dtype: npt.DTypeLike) -> Self:
        """Allocate an uninitialised array.

        Raises:
            Driver.MemoryError: `CudaDevice.active` turns it into DeviceMemoryError.
        """
        kind = np.dtype(dtype)
        allocation = device.driver.mem_alloc(max(1, math.prod(shape) * kind.itemsize))
        return cls(int(allocation), shape, kind, allocation)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """CUDA Array Interface, version 3, for numba, CuPy and torch."""
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
        """Return a view of rows `[start, stop)` of the first axis."""
        if not 0 <= start <= stop <= self.shape[0]:
            raise ValueError(f"rows [{start}, {stop}) are not in an array of {self.shape}")
        row = self.nbytes // max(1, self.shape[0])
        return replace(
            self, address=self.address + start * row, shape=(stop - start, *self.shape[1:])
        )

    def row(self, index: int) -> Self:
        """Return a view of one row, without the first axis."""
        one = self.rows(index, index + 1)
        return replace(one, shape=one.shape[1:])

    def view(self, shape: Shape, dtype: npt.DTypeLike | None = None, *, offset: int = 0) -> Self:
        """Return a view of another shape and dtype, `offset` bytes from the first value."""
        seen = replace(self, shape=shape, dtype=np.dtype(dtype or self.dtype))
        if offset < 0 or offset + seen.nbytes > self.nbytes:
            raise ValueError(
                f"{seen.dtype}{list(shape)} at byte {offset} is not within {self.nbytes} bytes"
            )
        return replace(seen, address=self.address + offset)

    def free(self) -> None:
        """Free the whole allocation; no work that uses it may be pending."""
        self.allocation.free()


class Buffer:
    """Reusable device memory that grows on demand."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._memory: DeviceArray | None = None

    @property
    def nbytes(self) -> int:
        """Current size in bytes."""
        return self._memory.nbytes if self._memory else 0

    def take(self, shape: Shape, dtype: npt.DTypeLike) -> DeviceArray:
        """Return an uninitialised array at the start of the buffer; earlier ones share its memory.

        Growing waits for all work of the device and changes the address.
        """
        needed = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        if self._memory is None or self._memory.nbytes < needed:
            self.free()
            self._memory = DeviceArray.empty(self._device, (needed,), np.uint8)
        return self._memory.view(shape, dtype)

    def free(self) -> None:
        """Free the memory after all work of the device."""
        if self._memory is not None:
            self._device.driver.Context.synchronize()
            self._memory.free()
            self._memory = None


@dataclass(frozen=True, slots=True, eq=False)
class PinnedArray:
    """Page-locked host memory: copies from and to it are asynchronous."""

    array: npt.NDArray[Any]
    """Must not be accessed while a copy that uses it is pending."""
    allocation: Any = field(repr=False)

    @classmethod
    def empty(cls, device: CudaDevice, shape: Shape, dtype: npt.DTypeLike) -> Self:
        """Allocate an uninitialised array."""
        array = device.driver.pagelocked_empty(shape, np.dtype(dtype))
        return cls(array, array.base)

    def free(self) -> None:
        """Free the memory; the array must not be used again."""
        self.allocation.free()
