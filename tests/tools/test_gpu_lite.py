"""`make gpu-check-lite`: its bundle, its steps, its measurements on the double of the driver."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cudasim import build, run
from mms_kernels.cuda import fatbin_path
from torch_runtime.model import write_model

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"

sys.path.insert(0, str(TOOLS))
import gpu_lite  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_lite, "FOLDER", tmp_path / "lite")
    monkeypatch.setattr(gpu_lite, "SITE", tmp_path / "lite" / "site")
    return tmp_path / "lite"


def test_bundle_has_the_engine_and_its_kernels(folder):
    """Another Python finds them there alone, the compiled parts too."""
    if fatbin_path() is None:
        pytest.skip("no nvcc when this was installed")
    assert gpu_lite.bundle("3.12", complete=False) < gpu_lite.LIMIT // 8
    code = (
        "import mms_kernels, mms_engine.decoding.device.decoders as decoders; "
        "from mms_kernels.cuda import fatbin_path; "
        "print(mms_kernels._ctc.__file__, decoders.__file__, fatbin_path())"
    )
    environment = gpu_lite.environment()
    # Without the .pth files of this environment, which lead to the sources.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment["PYTHONPATH"] += os.pathsep + packages
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(word).is_relative_to(folder) for word in done.stdout.split()] == [True] * 3


def test_bundle_that_cannot_be_carried_is_an_error(folder, monkeypatch):
    if fatbin_path() is None:
        pytest.skip("no nvcc when this was installed")
    monkeypatch.setattr(gpu_lite, "LIMIT", 1 << 20)
    with pytest.raises(SystemExit, match="MiB, at most 1 can be carried"):
        gpu_lite.bundle("3.12", complete=False)


def test_missing_bundle_is_one_line(folder, capsys):
    assert gpu_lite.main(["run", "--out", str(folder)]) == 1
    assert capsys.readouterr().err == (
        f"gpu-lite: there is no {folder / 'site'}: make it with gpu_lite.py bundle\n"
    )


def test_steps_take_ten_minutes_and_name_files_that_are_there(tmp_path):
    with_sanitizer = gpu_lite.steps(tmp_path, "compute-sanitizer")
    without = gpu_lite.steps(tmp_path, None)
    assert {step.name for step in with_sanitizer} - {step.name for step in without} == {
        "memcheck",
        "racecheck",
        "synccheck",
    }
    assert sum(step.limit for step in without) < 600
    for step in with_sanitizer:
        for word in shlex.split(step.command):
            assert not word.startswith(("tests/", "tools/")) or (ROOT / word).is_file()


@pytest.mark.parametrize("package", ["cuda-bindings", "pycuda"])
def test_measurements_run_on_the_double(tmp_path, package):
    try:
        build.build()
    except build.Unavailable as reason:
        pytest.skip(str(reason))
    out = tmp_path / "bench.json"
    command = [sys.executable, TOOLS / "gpu_bench.py", "--small", "--json", out]
    subprocess.run(command, env=run.environment(package), check=True)
    found = json.loads(out.read_text())
    assert found["device"] == "Simulated GPU"
    assert len(found["copies"]) == 5
    assert [row["beam"] for row in found["decoding"]] == [0, 16, 50]
    assert all(row["whole_seconds"] > 0 for row in found["decoding"])


ALONE = """
import runpy, sys
sys.modules |= dict.fromkeys(("onnx", "onnxruntime", "av", "soxr", "soundfile"))
runpy.run_module("torch_runtime.check", run_name="__main__")
"""


def test_engine_runs_on_the_double_with_torch_alone(tmp_path):
    """Recordings, streams and beam search have the texts of a CPU, without ONNX Runtime."""
    try:
        build.build()
    except build.Unavailable as reason:
        pytest.skip(str(reason))
    model = write_model(tmp_path / "model")
    environment = run.environment("cuda-bindings")
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(model)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout).keys() == {"recognised", "streamed", "beam"}
