"""What the CUDA driver of this machine says, asked without any CUDA library installed."""

import ctypes
import sys
from dataclasses import dataclass

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NAME_BYTES = 256
_GET = "get it from https://www.nvidia.com/drivers"
_CAPABILITY = (75, 76)
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


@dataclass(frozen=True, slots=True)
class CudaDriver:
    """The driver and its GPUs."""

    version: str
    """The CUDA release it supports, as `12.8`; empty where there is none."""
    devices: tuple[str, ...]
    """Name of each GPU."""
    reason: str
    """Why there is no GPU, in one sentence; empty where there is one."""
    capabilities: tuple[str, ...] = ()
    """Compute capability of each GPU, as `8.6`."""


def cuda_driver() -> CudaDriver:
    """Ask the driver for its version and devices."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return CudaDriver("", (), f"no NVIDIA driver is installed ({LIBRARY} is not there): {_GET}")
    status = driver.cuInit(0)
    if status != 0:
        reason = f"the NVIDIA driver found no usable GPU (cuInit returned {status})"
        return CudaDriver(_version(driver), (), reason)
    devices = _devices(driver)
    reason = "" if devices else "the NVIDIA driver has no GPU"
    capabilities = tuple(_capability(driver, ordinal) for ordinal in range(len(devices)))
    return CudaDriver(_version(driver), devices, reason, capabilities)


def _version(driver: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return ""
    major, rest = divmod(number.value, 1000)
    return f"{major}.{rest // 10}"


def _devices(driver: ctypes.CDLL) -> tuple[str, ...]:
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    names = []
    for ordinal in range(count.value):
        buffer = ctypes.create_string_buffer(_NAME_BYTES)
        if driver.cuDeviceGetName(buffer, _NAME_BYTES, ordinal) == 0:
            names.append(buffer.value.decode(errors="replace"))
    return tuple(names)


def _capability(driver: ctypes.CDLL, ordinal: int) -> str:
    numbers = []
    for attribute in _CAPABILITY:
        number = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, ordinal)
        numbers.append(str(number.value))
    return ".".join(numbers)
