"""Machine of `make gpu-check`, and what on it prevents or limits the check. Needs only Python."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAST_DISK = 35_000_000_000
"""Bytes: packages 14 GB, a checkpoint of the true size 3.9, its bundle 7.7, plans, pip's own."""
_LEAST_CUDA = (12, 0)
_LEAST_CAPABILITY = 75
_RTX_CAPABILITY = re.compile(r"75|8[069]|12\d")
_JETSON = Path("/etc/nv_tegra_release")
_MEMORY = Path("/proc/meminfo")
_LIBRARY = "libcuda.so.1"
_NAME_BYTES = 256
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18


class NoGpu(Exception):
    """There is nothing to check here; the message gives the reason."""


@dataclass(frozen=True)
class Machine:
    """What the check needs to know of a machine."""

    gpu: str
    capability: str
    """Compute capability of the GPU, such as `86`."""
    integrated: bool
    """Whether the GPU shares the memory of the system."""
    gpu_bytes: int
    """Memory of the GPU."""
    cuda: str
    """CUDA release that the driver supports, such as `12.4`."""
    memory_bytes: int
    """Available memory of the system; 0 if unknown."""
    disk_bytes: int
    """Free bytes where this repository is."""
    compiler: str
    """Path of a C++ compiler; empty without one."""
    nvcc: str
    """Release of nvcc, such as `13.0`; empty without one."""
    nvcc_codes: tuple[str, ...]
    """Compute capabilities that it knows."""
    python: str = platform.python_version()
    python_headers: bool = field(default_factory=lambda: _has_python_headers())
    jetson: bool = False

    @property
    def cuda_major(self) -> int:
        """Major release of CUDA that the driver supports."""
        return int(self.cuda.partition(".")[0])

    @property
    def rtx(self) -> bool:
        """Whether TensorRT for RTX is for this GPU; its packages are those for CUDA 13."""
        is_rtx = self.cuda_major >= 13 and re.search(r"GeForce|RTX", self.gpu) is not None
        return is_rtx and _RTX_CAPABILITY.fullmatch(self.capability) is not None


def examine(library: str = _LIBRARY) -> Machine:
    """Return this machine, with its first GPU.

    Raises:
        NoGpu: there is none, or no driver.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        raise NoGpu(f"no NVIDIA driver is installed ({library} is not there)") from None
    status = driver.cuInit(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if status != 0 or driver.cuDeviceGetName(name, _NAME_BYTES, 0) != 0:
        raise NoGpu(f"the NVIDIA driver found no usable GPU (cuInit returned {status})")
    total, release = ctypes.c_size_t(), ctypes.c_int()
    driver.cuDeviceTotalMem_v2(ctypes.byref(total), 0)
    driver.cuDriverGetVersion(ctypes.byref(release))
    nvcc, codes = _nvcc()
    return Machine(
        gpu=name.value.decode(errors="replace"),
        capability=f"{_attribute(driver, _MAJOR)}{_attribute(driver, _MINOR)}",
        integrated=bool(_attribute(driver, _INTEGRATED)),
        gpu_bytes=total.value,
        cuda=f"{release.value // 1000}.{release.value % 1000 // 10}",
        memory_bytes=_available_memory(),
        disk_bytes=shutil.disk_usage(ROOT).free,
        compiler=shutil.which("c++") or shutil.which("g++") or "",
        nvcc=nvcc,
        nvcc_codes=codes,
        jetson=_JETSON.exists() and platform.machine() == "aarch64",
    )


def problems(machine: Machine) -> list[str]:
    """Return what prevents the check, a line each."""
    found = []
    if tuple(map(int, machine.cuda.split("."))) < _LEAST_CUDA:
        least = ".".join(map(str, _LEAST_CUDA))
        found.append(
            f"the driver supports CUDA {machine.cuda}, needed is {least}: install a newer driver"
        )
    if int(machine.capability) < _LEAST_CAPABILITY:
        found.append(
            f"{machine.gpu} is of sm {machine.capability}, the kernels are for {_LEAST_CAPABILITY} "
            "and later"
        )
    if machine.disk_bytes < LEAST_DISK:
        found.append(
            f"{machine.disk_bytes / 1e9:.0f} GB of disk are free in {ROOT}, needed are "
            f"{LEAST_DISK / 1e9:.0f}"
        )
    if sys.version_info < (3, 11):  # noqa: UP036  (this script runs before anything is installed)
        found.append(f"this is Python {machine.python}, needed is 3.11: make gpu-check PYTHON=…")
    if not machine.compiler:
        found.append("there is no C++ compiler: install g++")
    if not machine.python_headers:
        found.append("there is no Python.h, which the native module needs: install python3-dev")
    return found


def notes(machine: Machine) -> list[str]:
    """Return what limits the check, a line each."""
    found = []
    if not machine.nvcc and machine.cuda_major < 13:
        found.append("there is no nvcc: the CUDA kernels are left out, decoding is on the CPU")
    if machine.nvcc and int(machine.nvcc.partition(".")[0]) > machine.cuda_major:
        found.append(
            f"nvcc {machine.nvcc} makes kernels that a driver for CUDA {machine.cuda} refuses: put "
            f"an nvcc of CUDA {machine.cuda_major} first on the path"
        )
    elif machine.nvcc and machine.capability not in machine.nvcc_codes:
        found.append(
            f"nvcc {machine.nvcc} does not know sm {machine.capability}: the driver compiles the "
            "kernels when they are loaded"
        )
    return found


def _nvcc() -> tuple[str, tuple[str, ...]]:
    """Return release and compute capabilities of nvcc."""
    path = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if path is None:
        return "", ()
    version, codes = (
        subprocess.run([path, flag], check=False, capture_output=True, text=True).stdout
        for flag in ("--version", "--list-gpu-code")
    )
    release = re.search(r"release (\d+\.\d+)", version)
    return release[1] if release else "", tuple(re.findall(r"sm_(\d+)", codes))


def _attribute(driver: ctypes.CDLL, key: int) -> int:
    number = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(number), key, 0)
    return number.value


def _available_memory() -> int:
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", _MEMORY.read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0


def _has_python_headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").is_file()
