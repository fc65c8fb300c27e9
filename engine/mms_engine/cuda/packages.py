"""Choice of the package that calls the driver."""

import importlib
import importlib.util
import os

from mms_engine.cuda.interface import Driver
from mms_engine.errors import BackendError

VARIABLE = "MMS_CUDA_DRIVER"
"""Environment variable that names the package."""
PACKAGES = {"cuda-bindings": "cuda.bindings", "pycuda": "pycuda"}
"""Module of each package, the preferred one first."""
_ADAPTERS = {"cuda-bindings": "mms_engine.cuda.bindings", "pycuda": "pycuda.driver"}
_INSTALL = "pip install 'mms-engine[gpu]' or 'mms-engine[rtx]'"


def chosen_package() -> str:
    """Return the package to use: the one that `VARIABLE` names, or the first that is installed.

    Raises:
        BackendError: it names another package, or none is installed.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted and wanted not in PACKAGES:
        raise BackendError(f"{VARIABLE} is {wanted}: set it to {' or '.join(PACKAGES)}")
    for name in [wanted] if wanted else PACKAGES:
        if _is_installed(PACKAGES[name]):
            return name
    if wanted:
        raise BackendError(f"{VARIABLE} is {wanted}, which is not installed: pip install {wanted}")
    raise BackendError(f"neither {' nor '.join(PACKAGES)} is installed: {_INSTALL}")


def load_driver() -> tuple[str, Driver]:
    """Import the package and return its name and the driver.

    Raises:
        BackendError: see `chosen_package`; or it cannot be imported.
    """
    name = chosen_package()
    try:
        driver: Driver = importlib.import_module(_ADAPTERS[name])
    except (ImportError, OSError) as error:
        raise BackendError(f"{name} cannot be used ({error}): reinstall it") from error
    return name, driver


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the parent
        return False
