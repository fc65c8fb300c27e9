"""Fixtures of tests that need a GPU: skipped without one, failed under MMS_REQUIRE_CUDA=1."""

import os

import pytest

from mms_engine.backends.registry import BACKENDS, available
from mms_engine.cuda.driver import cuda_driver

ON_CUDA = [name for name, backend in BACKENDS.items() if backend.device == "cuda"]


def refuse(reason):
    """Skip, or fail where a GPU is required."""
    if os.environ.get("MMS_REQUIRE_CUDA") == "1":
        pytest.fail(f"MMS_REQUIRE_CUDA=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def gpu():
    """Name of the first GPU."""
    driver = cuda_driver()
    if not driver.devices:
        refuse(driver.reason)
    return driver.devices[0]


@pytest.fixture(scope="session")
def capability(gpu):
    """Compute capability of the first GPU, as `86`."""
    return cuda_driver().capabilities[0].replace(".", "")


@pytest.fixture(scope="session")
def precisions(capability):
    """Precisions of the GPU; bfloat16 needs Ampere."""
    return ("fp32", "fp16", "bf16") if int(capability) >= 80 else ("fp32", "fp16")


@pytest.fixture(scope="session")
def bundle(capability, precisions, tmp_path_factory):
    """Demo model in every precision of the GPU, with plans of each installed TensorRT."""
    from mms_export.cli import main as mms_export  # which tests of the driver do without

    out = tmp_path_factory.mktemp("gpu") / "demo"
    words = ["--model", "demo", "--precision", ",".join(precisions), "--out", str(out), "--quiet"]
    mms_export(words, standalone_mode=False)
    for runtime, sm in (("tensorrt", ()), ("tensorrt-rtx", ("--sm", capability))):
        if why_not(runtime, capability) is None:
            mms_export([*words, "--engine", runtime, *sm], standalone_mode=False)
    return out


def why_not(name, capability):
    """Return why a backend cannot run on this GPU; `None` if it can."""
    state = available()[name]
    if not state.usable:
        return state.reason
    if name == "tensorrt-rtx":
        import tensorrt_rtx

        if not hasattr(tensorrt_rtx.ComputeCapability, f"SM{capability}"):
            return f"tensorrt-rtx {tensorrt_rtx.__version__} is not for sm {capability}"
    return None


@pytest.fixture(scope="session")
def clips():
    from engine_demo import demo_clips

    return demo_clips()


@pytest.fixture(scope="session")
def on_cpu(bundle):
    """Demo model on the CPU in float32: the reference."""
    from mms_engine import Recognizer

    with Recognizer.open(bundle, device="cpu", precision="fp32") as found:
        yield found


@pytest.fixture(scope="session", params=ON_CUDA)
def backend(request, capability):
    """Each backend of the GPU that works here; others are skipped with the reason."""
    reason = why_not(request.param, capability)
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    return request.param
