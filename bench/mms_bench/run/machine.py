"""Description of this machine and of the installed software."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from mms_bench.run.result import Machine
from mms_engine.cuda.driver import cuda_driver
from mms_engine.system import cpu_info, processor_name, usable_cores

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "i8mm")
PACKAGES = ("mms-engine", "numpy", "onnxruntime", "onnxruntime-gpu")


def describe_machine() -> Machine:
    """Return the facts that a figure depends on."""
    flags = cpu_info("flags", "Features").split()
    driver, usable = cuda_driver(), usable_cores()
    return Machine(
        cpu=processor_name(),
        cores=min(int(psutil.cpu_count(logical=False) or usable), usable),
        threads=usable,
        features=tuple(feature for feature in FEATURES if feature in flags),
        memory=psutil.virtual_memory().total,
        gpu=driver.devices[0] if driver.devices else "none",
        cuda=driver.version if driver.devices else "",
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def describe_versions() -> dict[str, str]:
    """Return the versions of the packages that every measurement rests on."""
    installed = {one.name: one.version for one in metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def describe_git() -> str:
    """Return the commit of these sources, with `-dirty` if modified; empty if unknown."""
    here = str(Path(__file__).parent)
    try:
        commit = _output("git", "-C", here, "rev-parse", "HEAD")
        status = _output("git", "-C", here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}-dirty" if status else commit


def _output(*command: str) -> str:
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    return run.stdout.strip()
