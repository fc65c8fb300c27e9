"""Choosing a backend is pure, and says why."""

import subprocess
import sys

import pytest

from mms_engine.backends import Availability, available, choose
from mms_engine.errors import BackendError

YES = Availability(usable=True, reason="onnxruntime 1.31")
NO = Availability(usable=False, reason="no NVIDIA driver is installed")


def test_auto_takes_the_first_usable_and_says_why_not_the_others() -> None:
    choice = choose("auto", {"ort-cuda": NO, "ort-cpu": YES})
    assert (choice.backend, choice.device) == ("ort-cpu", "cpu")
    assert "not ort-cuda: no NVIDIA driver is installed" in choice.reason


def test_auto_prefers_the_gpu() -> None:
    assert choose("auto", {"ort-cuda": YES, "ort-cpu": YES}).device == "cuda"


def test_the_device_that_was_asked_for_is_taken() -> None:
    assert choose("cpu", {"ort-cuda": YES, "ort-cpu": YES}).backend == "ort-cpu"


def test_a_device_that_does_not_work_is_an_error_with_its_reason() -> None:
    with pytest.raises(BackendError, match="nothing here can run on 'cuda': not ort-cuda: no NV"):
        choose("cuda", {"ort-cuda": NO, "ort-cpu": YES})


def test_available_gives_each_backend_a_sentence() -> None:
    found = available()
    assert list(found) == ["tensorrt", "tensorrt-rtx", "ort-cuda", "ort-rtx", "ort-cpu"]
    assert found["ort-cpu"].usable
    assert all(availability.reason for availability in found.values())


def test_without_onnxruntime_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from mms_engine.backends import available, choose\n"
        "choose('auto', available())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "BackendError" in result.stderr
    assert "pip install 'mms-engine[cpu]'" in result.stderr.splitlines()[-1]
