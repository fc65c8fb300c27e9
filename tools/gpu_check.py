"""First check of a machine with a GPU: `make gpu-check`. Needs only Python.

It installs the project into a virtual environment of its own, runs the tests that need a GPU with
skips turned into failures, and measures a random checkpoint of the true size. The result is a file
to commit: bench/results/gpu-NAME.json.
"""

import ctypes
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = Path(".venv-gpu")
WORK = Path("build/gpu-check")
_JETSON = Path("/etc/nv_tegra_release")
_LIBRARY = "libcuda.so.1"
_NAME_BYTES = 256


class NoGpu(Exception):
    """There is nothing to check here; the message gives the reason."""


def gpu_name(library: str = _LIBRARY) -> str:
    """Return the name of the first GPU.

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
    return name.value.decode(errors="replace")


def commands(gpu: str, *, jetson: bool) -> list[str]:
    """Return the command lines, in order; a Jetson's TensorRT comes with its system."""
    site, extra, more = ("--system-site-packages", "cpu", "pycuda") if jetson else ("", "gpu", "")
    folder, model, bundle = VENV / "bin", WORK / "mms-1b-random", WORK / "bundle"
    pip = f"{folder}/python -m pip install --quiet -c constraints.txt"
    export = f"{folder}/mms-export --lang all --precision fp32,fp16,bf16 --engine tensorrt"
    measure = f"{folder}/mms-bench run asr --device cuda --json {result_path(gpu)}"
    return [
        f"{shlex.quote(sys.executable)} -m venv {site} {VENV}",
        f"{pip} -e .[{extra},export,bench,dev] {more}",
        f"{folder}/mms doctor",
        f"{folder}/python -m pytest -q -m needs_cuda tests/gpu tests/kernels",
        f"{folder}/mms-export --model demo",
        f"{folder}/python -m mms_export.synthetic --out {model} --languages 8",
        f"{export} --model {model} --out {bundle}",
        f"{measure} --checkpoint {model} --bundle {bundle}",
    ]


def result_path(gpu: str) -> Path:
    """Return the path of the result, named after the GPU."""
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    return Path("bench/results") / f"gpu-{slug.removeprefix('nvidia-')}.json"


def run(lines: Sequence[str]) -> int:
    """Run command lines until one fails, and return its status, or 0."""
    environment = os.environ | {"MMS_REQUIRE_CUDA": "1"}
    for number, line in enumerate(lines, 1):
        print(f"gpu-check {number}/{len(lines)}: {line}", flush=True)
        status = subprocess.run(
            shlex.split(line), check=False, cwd=ROOT, env=environment
        ).returncode
        if status:
            print(f"gpu-check: status {status} from {line}", file=sys.stderr)
            return status
    return 0


def main() -> int:
    """Run the check and return the exit status."""
    try:
        gpu = gpu_name()
    except NoGpu as reason:
        print(f"gpu-check: {reason}: run it on a machine with an NVIDIA GPU", file=sys.stderr)
        return 1
    jetson = _JETSON.exists() and platform.machine() == "aarch64"
    print(f"gpu-check: {gpu}{', a Jetson' if jetson else ''}", flush=True)
    status = run(commands(gpu, jetson=jetson))
    if status == 0:
        path = result_path(gpu)
        print(
            f"gpu-check: done. Commit {path}, put the lines `<!-- mms-bench: {path.name} -->` and "
            "`<!-- mms-bench: end -->` into docs/benchmarks.md, and run "
            f"{VENV}/bin/mms-bench report {path} --update docs/benchmarks.md"
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
