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
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = Path(".venv-gpu")
WORK = Path("build/gpu-check")
_JETSON = Path("/etc/nv_tegra_release")
_LIBRARY = "libcuda.so.1"
_NAME_BYTES = 256


class NoGpu(Exception):
    """There is nothing to check here; the message gives the reason."""


@dataclass(frozen=True)
class Step:
    """Command of the check."""

    title: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Added to the environment."""


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


def extras(*, jetson: bool) -> str:
    """Return the requirement to install; a Jetson's TensorRT comes with its system."""
    return ".[cpu,export,bench,dev]" if jetson else ".[gpu,export,bench,dev]"


def steps(gpu: str, *, jetson: bool) -> list[Step]:
    """Return the commands, in order."""
    run = str(VENV / "bin" / "python")
    script = {name: str(VENV / "bin" / name) for name in ("mms", "mms-export", "mms-bench")}
    model, bundle = str(WORK / "mms-1b-random"), str(WORK / "bundle")
    pip = (run, "-m", "pip", "install", "--quiet", "-c", "constraints.txt")
    more = ("pycuda",) if jetson else ()
    site = ("--system-site-packages",) if jetson else ()
    precisions = ("--precision", "fp32,fp16,bf16")
    measured = ("--checkpoint", model, "--bundle", bundle, "--json", str(result_path(gpu)))
    return [
        Step("environment", (sys.executable, "-m", "venv", *site, str(VENV))),
        Step("install", (*pip, "-e", extras(jetson=jetson), *more)),
        Step("doctor", (script["mms"], "doctor")),
        Step(
            "tests",
            (run, "-m", "pytest", "-q", "-m", "needs_cuda", "tests/gpu", "tests/kernels"),
            {"MMS_REQUIRE_CUDA": "1"},
        ),
        Step("demo bundle", (script["mms-export"], "--model", "demo")),
        Step("checkpoint", (run, "-m", "mms_export.synthetic", "--out", model, "--languages", "8")),
        Step(
            "bundle and plans",
            (
                script["mms-export"],
                "--model",
                model,
                "--lang",
                "all",
                "--out",
                bundle,
                *precisions,
                "--engine",
                "tensorrt",
            ),
        ),
        Step("measure", (script["mms-bench"], "run", "asr", "--device", "cuda", *measured)),
    ]


def result_path(gpu: str) -> Path:
    """Return the path of the result, named after the GPU."""
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    return Path("bench/results") / f"gpu-{slug.removeprefix('nvidia-')}.json"


def run(commands: Sequence[Step]) -> int:
    """Run commands until one fails, and return its status, or 0."""
    for number, step in enumerate(commands, 1):
        print(
            f"gpu-check {number}/{len(commands)} {step.title}: {shlex.join(step.argv)}", flush=True
        )
        status = subprocess.run(
            step.argv, check=False, cwd=ROOT, env=os.environ | step.env
        ).returncode
        if status:
            print(f"gpu-check: {step.title} ended with status {status}", file=sys.stderr)
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
    status = run(steps(gpu, jetson=jetson))
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
