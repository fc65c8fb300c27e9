"""Observation and control of the double by tests: the functions cudasim_* of its library."""

import ctypes
import re
from dataclasses import dataclass

_OUT_OF_MEMORY = 2


@dataclass(frozen=True)
class Usage:
    """Live objects of the double."""

    allocations: int
    """Allocations of device memory."""
    bytes: int
    """Total size of the allocations."""
    host_ranges: int
    """Page-locked ranges of host memory."""
    streams: int
    events: int
    graphs: int
    """Executable graphs."""
    operations: int
    """Pending operations."""


class Simulator:
    """The double that is loaded in this process."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        if not hasattr(self.library, "cudasim_usage"):
            raise RuntimeError("libcuda.so.1 is not the double: run tests/cudasim/run.py")
        self.library.cudasim_fault.restype = ctypes.c_char_p
        self.library.cudasim_fault_count.restype = ctypes.c_size_t

    @staticmethod
    def word(value: int) -> ctypes.c_uint64:
        """Return a handle, an address or a size for a direct call of `library`."""
        return ctypes.c_uint64(int(value))

    def faults(self) -> list[str]:
        """Return the faults of the driver's callers since the last reset."""
        count = self.library.cudasim_fault_count()
        lines = [self.library.cudasim_fault(ctypes.c_size_t(index)) for index in range(count)]
        return [line.decode() for line in lines]

    def reset(self) -> None:
        """Clear the faults and the injected errors."""
        self.library.cudasim_reset()

    def expect_fault(self, pattern: str) -> None:
        """Require exactly one fault, whose text matches `pattern`, and clear it."""
        faults = self.faults()
        if len(faults) != 1 or not re.search(pattern, faults[0]):
            raise AssertionError(f"expected one fault like {pattern!r}, got {faults}")
        self.reset()

    def fail(self, function: str, *, nth: int = 1, times: int = 1, code: int) -> None:
        """Let calls of a function, such as "cuMemAlloc", return `code` from the nth next on."""
        if self.library.cudasim_fail(function.encode(), nth, times, code):
            raise ValueError(f"calls are counted from 1, got {nth=} and {times=}")

    def out_of_memory(self, nth: int = 1, times: int = 1) -> None:
        """Let the nth next allocation fail; pycuda tries twice before it raises."""
        self.fail("cuMemAlloc", nth=nth, times=times, code=_OUT_OF_MEMORY)

    def order(self, *, seed: int = 0, slow_copies: bool = False) -> None:
        """Order concurrent work as it was called (seed 0) or at random, and copies last."""
        self.library.cudasim_order(ctypes.c_uint64(seed), slow_copies)

    def usage(self) -> Usage:
        """Return the number of live objects."""
        counts = (ctypes.c_size_t * 7)()
        self.library.cudasim_usage(counts)
        return Usage(*counts)
