"""`make gpu-check`: what it says of a machine, its steps, and a run on the double of the driver."""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cudasim import build
from mms_bench.cli import main as mms_bench
from mms_engine.cuda.driver import cuda_driver
from mms_export.cli import main as mms_export

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SCRIPT = TOOLS / "gpu_check.py"

sys.path.insert(0, str(TOOLS))
import gpu_check  # noqa: E402
import gpu_machine  # noqa: E402
import gpu_steps  # noqa: E402

L4 = gpu_machine.Machine(
    gpu="NVIDIA L4",
    capability="89",
    integrated=False,
    gpu_bytes=24 << 30,
    cuda="13.0",
    memory_bytes=32 << 30,
    disk_bytes=100_000_000_000,
    compiler="/usr/bin/c++",
    nvcc="13.0",
    nvcc_codes=("75", "80", "86", "89", "90", "100", "120"),
    python_headers=True,
)
ADA = dataclasses.replace(L4, gpu="NVIDIA GeForce RTX 4090")
OLD = dataclasses.replace(L4, cuda="12.4", nvcc="12.4", nvcc_codes=("75", "80", "86", "89", "90"))
ORIN = dataclasses.replace(L4, gpu="Orin", capability="87", integrated=True, jetson=True)
BLACKWELL = dataclasses.replace(OLD, gpu="NVIDIA GeForce RTX 5090", capability="120", cuda="12.8")


def test_missing_gpu_is_one_line_and_nothing_is_installed():
    if cuda_driver().devices:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gpu-check: ")
    assert "run it on a machine with an NVIDIA GPU" in done.stderr


def test_missing_driver_library_is_named():
    with pytest.raises(gpu_machine.NoGpu, match=r"libnone.so is not there"):
        gpu_machine.examine("libnone.so")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, None),
        ({"cuda": "11.8"}, "the driver supports CUDA 11.8, needed is 12.0: install a newer driver"),
        ({"capability": "70"}, "NVIDIA L4 is of sm 70, the kernels are for 75 and later"),
        ({"disk_bytes": 20_000_000_000}, "20 GB of disk are free in "),
        ({"compiler": ""}, "there is no C++ compiler: install g++"),
        ({"python_headers": False}, "there is no Python.h, which the native module needs: "),
    ],
)
def test_what_prevents_the_check_is_one_line(change, line):
    found = gpu_machine.problems(dataclasses.replace(L4, **change))
    assert len(found) == (line is not None)
    assert not line or found[0].startswith(line)


@pytest.mark.parametrize(
    ("machine", "lines"),
    [
        (L4, []),
        (OLD, []),
        (dataclasses.replace(L4, nvcc="", nvcc_codes=()), []),
        (dataclasses.replace(OLD, nvcc="", nvcc_codes=()), ["there is no nvcc: the CUDA kernels"]),
        (dataclasses.replace(L4, cuda="12.4"), ["nvcc 13.0 makes kernels that a driver for CUDA"]),
        (BLACKWELL, ["nvcc 12.4 does not know sm 120: the driver compiles the kernels"]),
    ],
)
def test_what_limits_the_check_is_one_line(machine, lines):
    found = gpu_machine.notes(machine)
    assert len(found) == len(lines)
    for text, line in zip(found, lines, strict=True):
        assert text.startswith(line)


def test_nvcc_of_an_older_release_is_examined(tmp_path, monkeypatch):
    """One of CUDA 12.4 in front of this machine's, under a driver that is the double."""
    nvcc = tmp_path / "nvcc"
    listed = "".join(f"echo sm_{code}\n" for code in (50, 75, 86, 90))
    nvcc.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo 'Cuda compilation tools, release 12.4, V12.4.131' "
        f"&& exit\n{listed}"
    )
    nvcc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    machine = double()
    assert (machine.gpu, machine.capability, machine.cuda) == ("Simulated GPU", "86", "13.0")
    assert machine.gpu_bytes == 8 << 30
    assert not machine.integrated
    assert (machine.nvcc, machine.nvcc_codes) == ("12.4", ("50", "75", "86", "90"))
    assert gpu_machine.notes(machine) == []


def double():
    """Return this machine with the double of the driver, which another process loads."""
    try:
        build.build()
    except build.Unavailable as reason:
        pytest.skip(str(reason))
    code = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); import gpu_machine as m; "
        f"print(m.examine({str(build.DRIVER / 'libcuda.so.1')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return eval(done.stdout, {"Machine": gpu_machine.Machine})  # noqa: S307  (its own repr)


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "gpu-a100-sxm4-80gb-x.json"),
        ("Tesla T4", "gpu-tesla-t4-x.json"),
        ("NVIDIA GeForce RTX 4090", "gpu-geforce-rtx-4090-x.json"),
        ("Orin (nvgpu)", "gpu-orin-nvgpu-x.json"),
    ],
)
def test_result_is_named_after_the_gpu(gpu, name):
    assert gpu_steps.result_path(gpu, "x").name == name


@pytest.mark.parametrize(
    ("machine", "packages", "backends"),
    [
        (L4, ".[gpu,export", ["tensorrt", "ort-cuda"]),
        (ADA, ".[gpu,rtx,export", ["tensorrt", "tensorrt-rtx", "ort-cuda"]),
        (OLD, "tensorrt-cu12", ["tensorrt", "ort-cuda"]),
        (ORIN, ".[cpu,export", ["tensorrt"]),
    ],
)
def test_packages_and_backends_are_those_of_the_machine(machine, packages, backends):
    by_name = {step.name: step for step in gpu_steps.steps(machine)}
    assert packages in by_name["install"].command
    assert ("cuda-bindings~=12.6" in by_name["install"].command) == (machine is OLD)
    assert gpu_steps.backends(machine) == backends
    assert [name for name in by_name if name.startswith("recognition")] == [
        f"recognition {name}" for name in backends
    ]
    order = ["environment", "install", "doctor", "kernels", "driver", "plans"]
    assert list(by_name)[: len(order)] == order, "what proves most comes first"


def test_nvcc_comes_from_packages_where_the_system_has_none():
    bare = dataclasses.replace(L4, nvcc="", nvcc_codes=())
    names = [step.name for step in gpu_steps.steps(bare)]
    assert names[:3] == ["environment", "nvcc", "install"]
    assert gpu_check.environment(bare)["CUDAToolkit_ROOT"].endswith("site-packages/nvidia/cu13")
    assert "CUDAToolkit_ROOT" not in set(gpu_check.environment(L4)) - set(os.environ)


def test_commands_parse():
    """The options are parsed by the commands themselves, so that none is misspelled."""
    for step in gpu_steps.steps(ADA):
        words = shlex.split(step.command)
        if words[0].endswith("mms-export"):
            context = mms_export.make_context("mms-export", words[1:])
            assert context.params["engine"] in ("tensorrt", "tensorrt-rtx", None)
        if words[0].endswith("mms-bench"):
            words = [word for word in words[2:] if not word.startswith("build/gpu-check")]
            words = [word for word in words if word not in ("--checkpoint", "--bundle")]
            context = mms_bench.commands["run"].make_context("run", words)
            assert context.params["device"] == "cuda"
        for word in words:
            assert not word.startswith("tests/") or (TOOLS.parent / word).exists()


def python(code):
    return shlex.join([sys.executable, "-c", code])


def test_failures_do_not_stop_what_does_not_need_them(tmp_path, capfd):
    report = tmp_path / "report.json"
    seen = f"import json; print(len(json.load(open({str(report)!r}))['steps']))"
    wanted = [
        gpu_steps.Step("first", "", python("import os; print(os.environ['X'])"), 60),
        gpu_steps.Step("second", "", python("print('why'); raise SystemExit(3)"), 60),
        gpu_steps.Step("third", "", python("print('no')"), 60, ("first", "second")),
        gpu_steps.Step("fourth", "", python(seen), 60, ("first",)),
    ]
    results = gpu_check.run(wanted, L4, report, os.environ | {"X": "required"})
    assert [result.status for result in results] == ["ok", "failed", "left out", "ok"]
    out, _ = capfd.readouterr()
    assert "required\n" in out
    assert "\nno\n" not in out
    assert "\n3\n" in out, "the report is there after each step"
    written = json.loads(report.read_text())
    assert written["machine"]["gpu"] == "NVIDIA L4"
    assert [(step["reason"], step["tail"]) for step in written["steps"]] == [
        ("", []),
        ("status 3", ["why"]),
        ("second", []),
        ("", []),
    ]
    assert gpu_check.conclude(results, L4, report) == 1
    assert gpu_check.conclude(results[:1], L4, report) == 0


def test_step_that_hangs_is_ended_with_its_children(tmp_path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    start = time.monotonic()
    command = python(f"print('started', flush=True); {child.replace('input()', 'while 1: pass')}")
    result = gpu_check.take(gpu_steps.Step("hangs", "", command, 3), os.environ)
    assert time.monotonic() - start < 30
    assert (result.status, result.reason) == ("timed out", "not done after 3 s")
    assert result.tail == ["started"]


def test_simulated_check_runs_to_its_end(tmp_path):
    """Over the double of the driver, the whole script: what it says, takes and writes."""
    double()
    report = tmp_path / "report.json"
    command = [sys.executable, SCRIPT, "--simulate", "--report", report]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("gpu-check: Simulated GPU of sm 86 with 9 GB, driver for CUDA 13")
    written = json.loads(report.read_text())
    assert [step["status"] for step in written["steps"]] == ["ok"] * 3
