"""`make gpu-check`: its message without a GPU, and its commands with one."""

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mms_bench.cli import main as mms_bench
from mms_engine.cuda.driver import cuda_driver
from mms_export.cli import main as mms_export

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "gpu_check.py"


@pytest.fixture(scope="module")
def gpu_check():
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_check"] = module
    spec.loader.exec_module(module)
    return module


def test_missing_gpu_is_one_line_and_nothing_is_installed():
    if cuda_driver().devices:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gpu-check: ")
    assert "run it on a machine with an NVIDIA GPU" in done.stderr


def test_missing_driver_library_is_named(gpu_check):
    with pytest.raises(gpu_check.NoGpu, match=r"libnone.so is not there"):
        gpu_check.gpu_name("libnone.so")


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "gpu-a100-sxm4-80gb.json"),
        ("Tesla T4", "gpu-tesla-t4.json"),
        ("NVIDIA GeForce RTX 4090", "gpu-geforce-rtx-4090.json"),
        ("Orin (nvgpu)", "gpu-orin-nvgpu.json"),
    ],
)
def test_result_is_named_after_the_gpu(gpu_check, gpu, name):
    assert gpu_check.result_path(gpu).name == name


@pytest.mark.parametrize("jetson", [False, True])
def test_commands_parse(gpu_check, jetson):
    """The options are parsed by the commands themselves, so that none is misspelled."""
    lines = gpu_check.commands("Tesla T4", jetson=jetson)
    install, tests, export, measure = (shlex.split(lines[index]) for index in (1, 3, 6, 7))
    assert tests[-2:] == ["tests/gpu", "tests/kernels"], "correct first, then fast"
    assert ("pycuda" in install) == jetson
    assert any(word.startswith(".[gpu") for word in install) == (not jetson)
    context = mms_export.make_context("mms-export", export[1:])
    assert context.params["engine"] == "tensorrt"
    words = [w for w in measure[2:] if not w.startswith("build/gpu-check")]
    words = [w for w in words if w not in ("--checkpoint", "--bundle")]
    context = mms_bench.commands["run"].make_context("run", words)
    assert context.params["device"] == "cuda"
    assert str(context.params["out"]) == "bench/results/gpu-tesla-t4.json"


def test_first_failure_stops_the_run(gpu_check, capfd):
    def line(code):
        return shlex.join([sys.executable, "-c", code])

    tried = "import os; print('requires', os.environ['MMS_REQUIRE_CUDA'])"
    lines = [line(tried), line("raise SystemExit(3)"), line("print('third')")]
    assert gpu_check.run(lines) == 3
    out, err = capfd.readouterr()
    assert "requires 1\n" in out
    assert "third\n" not in out
    assert err == f"gpu-check: status 3 from {lines[1]}\n"
    assert gpu_check.run(lines[:1]) == 0
