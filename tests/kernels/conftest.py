import os
import shutil
from pathlib import Path

import pytest

import cuda_emulation
from ctc_implementations import Cpu, Cuda
from mms_kernels import _ctc
from mms_kernels.cuda import fatbin_path

CPU = [f"cpu-{isa}" for isa in _ctc.isas()]
EVERY = [*CPU, "cuda-emulated", pytest.param("cuda", marks=pytest.mark.needs_cuda)]


@pytest.fixture(scope="session")
def emulated():
    """The CUDA kernels built for the host; unchanged files are not rebuilt."""
    if not shutil.which("c++") or not shutil.which("cmake"):
        pytest.skip("no C++ compiler or no cmake")
    return cuda_emulation.build(Path(cuda_emulation.ROOT, "build", "emulation"))


@pytest.fixture
def device(emulated):
    return cuda_emulation.Device(emulated)


def gpu():
    """The compiled kernels on the first GPU; skips, or fails under MMS_REQUIRE_CUDA=1."""
    try:
        from gpu_device import GpuDevice

        if fatbin_path() is None:
            raise RuntimeError("this install has no CUDA kernels: reinstall it where nvcc is found")
        return GpuDevice()
    except Exception as error:  # noqa: BLE001 - the reason is reported
        if os.environ.get("MMS_REQUIRE_CUDA") == "1":
            pytest.fail(f"MMS_REQUIRE_CUDA=1, but {error}", pytrace=False)
        pytest.skip(f"no CUDA device ({error})")


def implementation(request):
    if request.param.startswith("cpu-"):
        return Cpu(request.param.removeprefix("cpu-"))
    if request.param == "cuda":
        return Cuda(gpu())
    return Cuda(cuda_emulation.Device(request.getfixturevalue("emulated")))


@pytest.fixture(params=EVERY)
def ctc(request):
    """Each implementation: the instruction sets, emulated CUDA, a GPU."""
    found = implementation(request)
    yield found
    found.close()


@pytest.fixture(params=CPU)
def cpu(request):
    """Each instruction set."""
    found = implementation(request)
    yield found
    found.close()
