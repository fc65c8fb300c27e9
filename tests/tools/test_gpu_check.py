"""`make gpu-check`: its message without a GPU, and its commands with one."""

import importlib.util
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


def test_without_a_gpu_it_is_one_line_and_nothing_is_installed():
    if cuda_driver().devices:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gpu-check: ")
    assert "run it on a machine with an NVIDIA GPU" in done.stderr


def test_a_library_that_is_no_driver_is_named(gpu_check):
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
def test_the_result_is_called_after_the_gpu(gpu_check, gpu, name):
    assert gpu_check.result_path(gpu).name == name


@pytest.mark.parametrize("jetson", [False, True])
def test_its_commands_are_ones_that_there_are(gpu_check, jetson):
    """The options are parsed by the commands themselves, so that none is misspelled."""
    found = {step.title: step for step in gpu_check.steps("Tesla T4", jetson=jetson)}
    order = list(found)
    assert order.index("tests") < order.index("measure"), "correct first, then fast"
    assert found["tests"].env == {"MMS_REQUIRE_CUDA": "1"}
    install = found["install"].argv
    assert ("pycuda" in install) == jetson
    assert any(word.startswith(".[gpu") for word in install) == (not jetson)
    export = mms_export.make_context("mms-export", list(found["bundle and plans"].argv[1:]))
    assert export.params["engine"] == "tensorrt"
    words = [w for w in found["measure"].argv[2:] if not w.startswith("build/gpu-check")]
    words = [w for w in words if w not in ("--checkpoint", "--bundle")]
    measure = mms_bench.commands["run"].make_context("run", words)
    assert measure.params["device"] == "cuda"
    assert str(measure.params["out"]) == "bench/results/gpu-tesla-t4.json"


def test_it_stops_at_the_first_failure(gpu_check, capfd):
    def step(title, code):
        return gpu_check.Step(title, (sys.executable, "-c", code), {"MMS_TRIED": title})

    tried = "import os; print('tried', os.environ['MMS_TRIED'])"
    commands = [step("one", tried), step("two", "raise SystemExit(3)"), step("three", tried)]
    assert gpu_check.run(commands) == 3
    out, err = capfd.readouterr()
    assert "tried one" in out
    assert "tried three" not in out
    assert err == "gpu-check: two ended with status 3\n"
    assert gpu_check.run(commands[:1]) == 0
