"""The compiled kernels on a real GPU, behind the interface of the emulated device."""

import contextlib
import ctypes

import numpy as np

from cuda_emulation import Device
from mms_engine.cuda.context import open_device
from mms_engine.cuda.kernels import Kernels, Launch
from mms_engine.cuda.memory import PinnedArray
from mms_engine.cuda.streams import CudaStream


class GpuDevice(Device):
    """Launches the fatbin's kernels on page-locked memory, which host and device see alike."""

    def __init__(self, threads=256):
        super().__init__(None, threads=threads)
        self.gpu = open_device()
        self.open = contextlib.ExitStack()
        self.open.enter_context(self.gpu.active("testing"))
        self.kernels, self.stream = Kernels(self.gpu), CudaStream(self.gpu)
        self.open.callback(self.kernels.free)
        self.open.callback(self.stream.free)

    def close(self):
        self.open.close()

    def zeros(self, shape, dtype=float):
        array = np.zeros(shape, dtype)
        if array.nbytes == 0:
            return array
        pinned = PinnedArray.empty(self.gpu, (array.nbytes,), np.uint8)
        self.open.callback(pinned.free)
        pinned.array[...] = 0
        return pinned.array.view(array.dtype).reshape(array.shape)

    def launch(self, name, grid, threads, *args, shared_bytes=0):
        shape = Launch((*grid, 1)[:2], threads, shared_bytes)
        self.kernels.launch(name, shape, self.stream, *map(_argument, args))
        self.stream.synchronize()


def _argument(arg):
    """Return a pointer as a struct, which the kernel takes by value."""
    return ctypes.c_uint64(arg.value) if isinstance(arg, ctypes.c_void_p) else arg
