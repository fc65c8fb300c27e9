"""Description of this machine and of the installed software."""

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from mms_bench.run.result import Machine
from mms_engine.system import usable_cores

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "i8mm")
PACKAGES = ("mms-engine", "numpy", "onnxruntime", "onnxruntime-gpu")


def describe_machine() -> Machine:
    """Return the facts that a figure depends on."""
    import psutil

    name, flags = _cpu()
    gpu, driver, cuda = _gpu()
    usable = usable_cores()
    return Machine(
        cpu=name,
        cores=min(int(psutil.cpu_count(logical=False) or usable), usable),
        threads=usable,
        features=tuple(feature for feature in FEATURES if feature in flags),
        memory=psutil.virtual_memory().total,
        gpu=gpu,
        driver=driver,
        cuda=cuda,
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


def _cpu() -> tuple[str, set[str]]:
    """Return the processor's name and its flags in Linux's spelling."""
    info = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    for line in info.read_text().splitlines() if info.is_file() else ():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, set((fields.get("flags") or fields.get("features") or "").split())


def _gpu() -> tuple[str, str, str]:
    """Return name, driver version and the CUDA version that the driver offers."""
    if shutil.which("nvidia-smi") is None:
        return "none", "", ""
    try:
        query = "--query-gpu=name,driver_version"
        line = _output("nvidia-smi", query, "--format=csv,noheader").splitlines()[0]
        banner = _output("nvidia-smi")
    except (OSError, subprocess.SubprocessError, IndexError):
        return "none (nvidia-smi fails)", "", ""
    name, _, driver = line.partition(", ")
    _, _, rest = banner.partition("CUDA Version:")
    return name, driver, rest.split()[0] if rest else ""
