"""Compiled CUDA kernels of mms_kernels."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.streams import CudaStream
from mms_engine.errors import BackendError
from mms_kernels.cuda import architectures, compiler_release, fatbin_path

_DEFAULT_SHARED_BYTES = 48 << 10  # more has to be requested per kernel


@dataclass(frozen=True, slots=True)
class Launch:
    """Launch configuration of a kernel."""

    grid: tuple[int, int]
    """Blocks, x and y."""
    block: int
    """Threads per block."""
    shared_bytes: int = 0
    """Dynamic shared memory per block."""


class Kernels:
    """Loaded fatbin. Made, used and freed inside `CudaDevice.active`."""

    def __init__(self, device: CudaDevice) -> None:
        """Load the fatbin.

        Raises:
            BackendError: the installation has no kernels, or none for the device.
        """
        path = fatbin_path()
        if path is None:
            raise BackendError(
                "this installation has no CUDA kernels, it was built without nvcc: reinstall "
                "mms-engine from source with nvcc on the path or CUDAToolkit_ROOT set"
            )
        fatbin = path.read_bytes()
        try:
            self._module: Any = device.driver.module_from_buffer(fatbin)
        except device.driver.MemoryError:
            raise
        except device.driver.Error as error:
            compiled = ", ".join(map(str, architectures(fatbin)))
            by = compiler_release(path)
            raise BackendError(
                f"{path}{' by nvcc ' + by if by else ''} has kernels for sm {compiled}, none of "
                f"which runs on {device.name} of sm {device.compute_capability} with its driver "
                f"({error})"
            ) from error
        self._device = device
        self._functions: dict[str, Any] = {}

    def launch(
        self, name: str, launch: Launch, stream: CudaStream, *args: ctypes.Structure
    ) -> None:
        """Enqueue a kernel on a CUDA stream.

        Args:
            name: Kernel, as in docs/kernels-cuda.md.
            launch: Launch configuration.
            stream: CUDA stream of the launch.
            args: Structs of `mms_kernels.cuda.arguments`, copied before this returns; their sizes
                are multiples of 8 bytes.
        """
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = self._module.get_function(name)
        if launch.shared_bytes > _DEFAULT_SHARED_BYTES:
            attribute = self._device.driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            function.set_attribute(attribute, launch.shared_bytes)
        function(
            *(np.frombuffer(bytes(struct), np.uint8) for struct in args),  # passed by value
            grid=launch.grid,
            block=(launch.block, 1, 1),
            shared=launch.shared_bytes,
            stream=stream.raw,
        )

    def free(self) -> None:
        """Unload the fatbin; no kernel may be pending."""
        self._functions.clear()
        self._module = None
