"""Steps of `make gpu-check`, in the order of what they prove. Needs only Python."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpu_machine import Machine

VENV = Path(".venv-gpu")
WORK = Path("build/gpu-check")
_PYTHON = f"{VENV}/bin/python"
_PIP = f"{_PYTHON} -m pip install --quiet"
_TESTS = f"{_PYTHON} -m pytest -q -m needs_cuda"
_DRIVER = "tests/gpu/test_gpu_driver.py"
_MODEL = WORK / "mms-1b-random"
_NVCC = "nvidia-cuda-nvcc nvidia-cuda-crt nvidia-nvvm nvidia-cuda-cccl nvidia-cuda-runtime"


@dataclass(frozen=True)
class Step:
    """One command of the check."""

    name: str
    proves: str
    """What is known when it succeeds."""
    command: str
    limit: int
    """Seconds after which it is ended."""
    needs: tuple[str, ...] = ()
    """Steps without whose success it is left out."""


_KERNELS = Step("kernels", "they compute what the CPU's do", f"{_TESTS} tests/kernels", 900)
_FACADE = Step("driver", "streams, copies, graphs and memory do", f"{_TESTS} {_DRIVER}", 300)
_PLANS = Step("plans", "TensorRT keeps its rules", f"{_TESTS} tests/gpu/test_gpu_plans.py", 1800)


def steps(machine: Machine) -> list[Step]:
    """Return the steps for a machine with a GPU."""
    venv = f"-m venv {'--system-site-packages ' if machine.jetson else ''}{VENV}"
    install = f"{_PIP} -c constraints.txt {packages(machine)}"
    base = [Step("environment", "there is venv", f"{shlex.quote(sys.executable)} {venv}", 300)]
    if installs_nvcc(machine):
        wanted = " ".join(f"{name}~={machine.cuda_major}.0.0" for name in _NVCC.split())
        base.append(Step("nvcc", "kernels can be compiled", f"{_PIP} {wanted}", 900))
    base.append(Step("install", "every package is there", install, 3600))
    made = [Step("doctor", "what works here", f"{VENV}/bin/mms doctor", 120)]
    made += [_KERNELS, _FACADE, _PLANS, *(_recognition(name) for name in backends(machine))]
    write = f"{_PYTHON} -m mms_export.synthetic --out {_MODEL} --languages 8"
    made.append(Step("checkpoint", "there is one of the true size", write, 1200))
    for precision in ("fp16", "bf16", "fp32"):
        if precision != "bf16" or int(machine.capability) >= 80:
            made += _measurements(machine, precision)
    # Nothing works without the packages; of the rest, what works is worth knowing.
    return [*base, *(replace(step, needs=("install", *step.needs)) for step in made)]


def simulated_steps() -> list[Step]:
    """Return the steps that the double of the driver can take, on a machine without a GPU."""
    run = f"{shlex.quote(sys.executable)} tests/cudasim/run.py -q"
    kernels = f"{run} -m needs_cuda tests/kernels/test_greedy.py -k chunking"
    engine = f"{run} tests/gpu_sim/test_runtime_identification.py"
    return [
        replace(_KERNELS, command=kernels),
        replace(_FACADE, command=f"{run} {_DRIVER}"),
        Step("identification", "the engine runs plans", engine, 900),
    ]


def packages(machine: Machine) -> str:
    """Return what pip installs; a Jetson's TensorRT comes with its system."""
    rest = "export,bench,dev"
    if machine.jetson:
        return f"-e .[cpu,{rest}] cuda-bindings~={machine.cuda_major}.0"
    if machine.cuda_major >= 13:
        return f"-e .[gpu{',rtx' if machine.rtx else ''},{rest}]"
    # onnxruntime-gpu 1.27 and later are for CUDA 13.
    return f"-e .[{rest}] 'onnxruntime-gpu[cuda,cudnn]<1.27' tensorrt-cu12 cuda-bindings~=12.6"


def installs_nvcc(machine: Machine) -> bool:
    """Whether nvcc is installed from packages, as the system has none."""
    return not machine.nvcc and not machine.jetson and machine.cuda_major >= 13


def backends(machine: Machine) -> list[str]:
    """Return the backends for a machine's GPU."""
    found = ["tensorrt", "tensorrt-rtx"] if machine.rtx else ["tensorrt"]
    return found if machine.jetson else [*found, "ort-cuda"]


def result_path(gpu: str, what: str) -> Path:
    """Return the path of a result, named after the GPU."""
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    return Path("bench/results") / f"gpu-{slug.removeprefix('nvidia-')}-{what}.json"


def _recognition(backend: str) -> Step:
    chosen = "tensorrt and not tensorrt-rtx" if backend == "tensorrt" else backend
    command = f"{_TESTS} tests/gpu/test_gpu_recognition.py -k {shlex.quote(chosen)}"
    return Step(f"recognition {backend}", "the demo's texts are the CPU's", command, 1800)


def _measurements(machine: Machine, precision: str) -> list[Step]:
    """Return the steps that export one precision at the true size and measure each backend."""
    made, bundle = [], WORK / precision
    for name in backends(machine):
        engine = "" if name == "ort-cuda" else f" --engine {name}"
        if engine and precision == "fp32":
            continue  # plans are in half precision
        sm = f" --sm {machine.capability}" if name == "tensorrt-rtx" else ""
        export = (
            f"{VENV}/bin/mms-export --quiet --lang all --precision {precision}{engine}{sm} "
            f"--model {_MODEL} --out {bundle}"
        )
        measure = (
            f"{VENV}/bin/mms-bench run asr --device cuda --backend {name} "
            f"--json {result_path(machine.gpu, f'{precision}-{name}')} "
            f"--checkpoint {_MODEL} --bundle {bundle}"
        )
        exported = f"export {precision} {name}"
        made += [
            Step(exported, "plans of the true size can be built", export, 5400, ("checkpoint",)),
            Step(f"measure {precision} {name}", "speed and memory", measure, 1800, (exported,)),
        ]
    return made
