"""The compiled kernels on a real GPU, behind the interface of the emulated device."""

import ctypes

import numpy as np

from cuda_emulation import Device
from mms_kernels.cuda import fatbin_path

_SHARED_BYTES = 48 << 10
"""What a block gets without asking."""


class GpuDevice(Device):
    """Launches the fatbin's kernels on managed memory, which host and device see alike."""

    def __init__(self, threads=256):
        import pycuda.driver as cuda

        super().__init__(None, threads=threads)
        cuda.init()
        self.cuda = cuda
        self.context = cuda.Device(0).retain_primary_context()
        self.context.push()
        self.module = cuda.module_from_file(str(fatbin_path()))

    def close(self):
        self.context.pop()

    def zeros(self, shape, dtype=float):
        if np.prod(shape) == 0:
            return np.zeros(shape, dtype)
        kept = self.cuda.mem_attach_flags.GLOBAL
        array = self.cuda.managed_empty(shape, np.dtype(dtype), mem_flags=kept)
        array.view(np.uint8)[...] = 0
        return array

    def launch(self, name, grid, threads, *args, shared_bytes=0):
        function = self.module.get_function(name)
        if shared_bytes > _SHARED_BYTES:
            limit = self.cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            function.set_attribute(limit, shared_bytes)
        function(
            *(_argument(arg) for arg in args),
            grid=(*grid, *[1] * (3 - len(grid))),
            block=(threads, 1, 1),
            shared=shared_bytes,
        )
        self.cuda.Context.synchronize()


def _argument(arg):
    """Return a pointer as a number, a struct as the bytes that the kernel takes by value."""
    if isinstance(arg, ctypes.c_void_p):
        return np.uintp(arg.value)
    return np.frombuffer(bytes(arg), np.uint8)
