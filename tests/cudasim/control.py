"""What tests ask of the double and order it to do: the functions cudasim_* of its library."""

import ctypes
import re
from dataclasses import dataclass

_OUT_OF_MEMORY = 2


@dataclass(frozen=True)
class Usage:
    """What is alive in the double."""

    allocations: int
    """Allocations of device memory."""
    bytes: int
    """Their bytes."""
    peak_bytes: int
    """The most there ever were."""
    host_ranges: int
    """Page-locked ranges of host memory."""
    streams: int
    events: int
    graphs: int
    """Executable graphs."""
    operations: int
    """Operations that are not done yet."""
    contexts: int


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

    @staticmethod
    def pointer(word):
        """Return a pointer to a word, for what a call writes."""
        return ctypes.byref(word)

    def faults(self) -> list[str]:
        """Return what the callers of the driver did wrong since the last reset."""
        count = self.library.cudasim_fault_count()
        lines = [self.library.cudasim_fault(ctypes.c_size_t(index)) for index in range(count)]
        return [line.decode() for line in lines]

    def reset(self) -> None:
        """Forget the faults and what was ordered to fail."""
        self.library.cudasim_reset()

    def expect_fault(self, pattern: str) -> None:
        """Take the one fault that there must be; its text matches `pattern`."""
        faults = self.faults()
        if len(faults) != 1 or not re.search(pattern, faults[0]):
            raise AssertionError(f"expected one fault like {pattern!r}, got {faults}")
        self.reset()

    def fail(self, function: str, *, nth: int = 1, times: int = 1, code: int) -> None:
        """Let calls of a function, such as "cuMemAlloc", answer `code` from the nth next on."""
        if self.library.cudasim_fail(function.encode(), nth, times, code):
            raise ValueError(f"calls are counted from 1, got {nth=} and {times=}")

    def out_of_memory(self, nth: int = 1, times: int = 1) -> None:
        """Let the nth next allocation of device memory fail; pycuda asks twice before it raises."""
        self.fail("cuMemAlloc", nth=nth, times=times, code=_OUT_OF_MEMORY)

    def lose_device(self, code: int) -> None:
        """Let every later call in the contexts that there are answer `code`, such as 700 or 719."""
        self.library.cudasim_lose_device(code)

    def order(self, *, seed: int = 0, slow_copies: bool = False) -> None:
        """Choose the order of what may run in any; with slow copies these wait for the rest."""
        self.library.cudasim_order(ctypes.c_uint64(seed), slow_copies)

    def set_memory(self, size: int) -> None:
        """Let the device have `size` bytes."""
        self.library.cudasim_set_memory(ctypes.c_size_t(size))

    def set_capability(self, capability: int) -> None:
        """Let the device have a compute capability, such as 86."""
        self.library.cudasim_set_capability(capability)

    def set_driver(self, version: int) -> None:
        """Let cuDriverGetVersion say `version`, such as 12040 for 12.4."""
        self.library.cudasim_set_driver(version)

    def usage(self) -> Usage:
        """Return what is alive."""
        counts = (ctypes.c_size_t * 9)()
        self.library.cudasim_usage(counts)
        return Usage(*counts)
