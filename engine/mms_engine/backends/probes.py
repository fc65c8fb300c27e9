"""Probes of the backends: availability, found without loading large libraries."""

import importlib
import importlib.util
from dataclasses import dataclass

from mms_engine.bundle.manifest import Runtime
from mms_engine.cuda.driver import CudaDriver, cuda_driver
from mms_engine.cuda.packages import chosen_package
from mms_engine.errors import BackendError

INSTALL_HINT = "pip install 'mms-engine[cpu]' (or 'mms-engine[gpu]' for NVIDIA GPUs)"
MODULES: dict[Runtime, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Python module of each runtime of plans; their interfaces are the same."""
PLAN_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT64": "int64",
    "INT32": "int32",
}
"""Manifest name of each TensorRT data type."""
_CUDA_PROVIDER = "CUDAExecutionProvider"
_CUDA_RELEASES = (11, 12, 13, 14)


@dataclass(frozen=True, slots=True)
class Availability:
    """Availability of a backend on this machine."""

    usable: bool
    reason: str
    """Library and device it runs with, or why it cannot run, in one sentence."""


_NO_ORT = Availability(usable=False, reason=f"onnxruntime is not installed: {INSTALL_HINT}")


def ort_cpu() -> Availability:
    """Probe ONNX Runtime on the CPU."""
    found = _providers()
    return Availability(usable=True, reason=f"onnxruntime {found[0]}") if found else _NO_ORT


def ort_cuda() -> Availability:
    """Probe ONNX Runtime with CUDA, and a GPU."""
    driver = cuda_driver()
    if not driver.devices:
        return Availability(usable=False, reason=driver.reason)
    found = _providers()
    if found is None:
        return _NO_ORT
    version, providers = found
    if _CUDA_PROVIDER not in providers:
        reason = f"onnxruntime {version} has no CUDA: replace it by pip install 'mms-engine[gpu]'"
        return Availability(usable=False, reason=reason)
    return Availability(usable=True, reason=f"onnxruntime {version} on {driver.devices[0]}")


def tensorrt() -> Availability:
    """Probe TensorRT, a package that calls the driver, and a GPU."""
    return _plans(MODULES["tensorrt"], "gpu")


def tensorrt_rtx() -> Availability:
    """Probe TensorRT for RTX, a package that calls the driver, and a GPU."""
    return _plans(MODULES["tensorrt-rtx"], "rtx")


def _plans(module: str, extra: str) -> Availability:
    driver = cuda_driver()
    if not driver.devices:
        return Availability(usable=False, reason=driver.reason)
    if importlib.util.find_spec(module) is None:
        reason = f"{module} is not installed: pip install 'mms-engine[{extra}]'"
        return Availability(usable=False, reason=reason)
    try:
        chosen_package()
    except BackendError as error:
        return Availability(usable=False, reason=str(error))
    too_old = _too_old(module, driver)
    if too_old:
        return Availability(usable=False, reason=too_old)
    return Availability(usable=True, reason=f"{_described(module)} on {driver.devices[0]}")


def _too_old(module: str, driver: CudaDriver) -> str:
    """Return why the driver is too old for a runtime's CUDA release; empty if it is not."""
    supported = int(driver.version.partition(".")[0] or 0)
    for release in _CUDA_RELEASES:
        if release > supported and installed_version(f"{module}_cu{release}"):
            return (
                f"{_described(module)} is built for CUDA {release} and the driver supports "
                f"{driver.version}: install a newer driver, or {module}_cu{supported}"
            )
    return ""


def _described(module: str) -> str:
    version = installed_version(module)
    return f"{module} {version}" if version else module


def installed_version(package: str) -> str:
    """Return the release of a package; empty if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # which takes 10 ms

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _providers() -> tuple[str, list[str]] | None:
    """Return version and providers of ONNX Runtime; `None` if it is not installed."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        return onnxruntime.__version__, onnxruntime.get_available_providers()
    except (ImportError, AttributeError):
        # AttributeError: uninstalling onnxruntime can leave an empty folder of that name.
        return None
