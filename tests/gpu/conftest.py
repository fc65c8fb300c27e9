"""For a machine with a GPU: skipped elsewhere, failed under MMS_REQUIRE_CUDA=1."""

import os

import pytest

from engine_demo import demo_clips
from mms_engine import Recognizer, RecognizerOptions
from mms_engine.backends import available
from mms_engine.backends.cuda import cuda_driver
from mms_engine.backends.registry import BACKENDS
from mms_export.cli import main as mms_export

ON_CUDA = [name for name, backend in BACKENDS.items() if backend.device == "cuda"]


def refuse(reason):
    """Skip, or fail where a GPU is required."""
    if os.environ.get("MMS_REQUIRE_CUDA") == "1":
        pytest.fail(f"MMS_REQUIRE_CUDA=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def gpu():
    """The name of the first GPU."""
    driver = cuda_driver()
    if not driver.devices:
        refuse(driver.reason)
    return driver.devices[0]


@pytest.fixture(scope="session")
def bundle(gpu, tmp_path_factory):
    """The demo model in every precision a GPU takes."""
    out = tmp_path_factory.mktemp("gpu") / "demo"
    words = ["--model", "demo", "--precision", "fp32,fp16,bf16", "--out", str(out), "--quiet"]
    mms_export(words, standalone_mode=False)
    return out


@pytest.fixture(scope="session")
def clips():
    return demo_clips()


@pytest.fixture(scope="session")
def on_cpu(bundle):
    """The demo model on the CPU, in float32: what every GPU is held against."""
    with Recognizer.open(bundle, RecognizerOptions(device="cpu", precision="fp32")) as found:
        yield found


@pytest.fixture(scope="session", params=ON_CUDA)
def backend(request, gpu):
    """Each way to run on the GPU that works here; why the others do not is the skip's reason."""
    state = available()[request.param]
    if not state.usable:
        pytest.skip(f"{request.param}: {state.reason}")
    return request.param
