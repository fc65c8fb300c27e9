import shutil
from pathlib import Path

import pytest

import cuda_emulation


@pytest.fixture(scope="session")
def emulated():
    """The library of the CUDA kernels on the host; what did not change is not built again."""
    if not shutil.which("c++") or not shutil.which("cmake"):
        pytest.skip("no C++ compiler or no cmake")
    return cuda_emulation.build(Path(cuda_emulation.ROOT, "build", "emulation"))


@pytest.fixture
def device(emulated):
    return cuda_emulation.Device(emulated)
