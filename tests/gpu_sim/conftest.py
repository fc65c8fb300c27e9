"""Tests on the double of the CUDA driver: each file runs in a process that loads it.

Files of the engine run over each package that calls the driver, those of the double over pycuda.

The loader reads LD_LIBRARY_PATH only when a process starts. In the child process this file only
provides fixtures. One test alone: python tests/cudasim/run.py FILE::TEST.
"""

import os
import subprocess
import sys

import pytest

from cudasim import build, run
from mms_engine.cuda.packages import PACKAGES

IN_CHILD = run.CHILD in os.environ


class SimulatedFile(pytest.Module):
    """A test file as one item for each package that calls the driver."""

    def collect(self):
        packages = ["pycuda"] if self.path.name.startswith("test_sim_") else PACKAGES
        for package in packages:
            yield SimulatedRun.from_parent(self, name=package)


class SimulatedRun(pytest.Item):
    """A run of pytest on the double; its name is the package that calls the driver."""

    def runtest(self):
        try:
            build.build()
        except build.Unavailable as reason:
            pytest.skip(str(reason))
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(self.path)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=run.environment(self.name)
        )
        self.add_report_section("call", "cudasim", done.stdout)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)

    def reportinfo(self):
        return self.path, None, f"{self.path.name} on the double over {self.name}"


if not IN_CHILD:

    def pytest_pycollect_makemodule(module_path, parent):
        """Run the file in a process of its own."""
        return SimulatedFile.from_parent(parent, path=module_path)


@pytest.fixture(scope="session")
def simulator():
    """The double; the driver is initialised."""
    from cudasim.control import Simulator

    return Simulator()


@pytest.fixture
def sim(simulator):
    """The double, reset and in the order of the calls; a test must leave no fault."""
    simulator.reset()
    simulator.order()
    yield simulator
    faults = simulator.faults()
    simulator.reset()
    simulator.order()
    assert not faults, "\n".join(faults)


@pytest.fixture
def sessions(sim):
    """List of sessions to be closed at the end, after which nothing may be alive."""
    made = []
    yield made
    for session in made:
        session.close()
    left = sim.usage()
    counts = (left.allocations, left.host_ranges, left.streams, left.events, left.graphs)
    made.clear()  # the engine's own memory goes with the stand-in's object
    assert counts == (0, 0, 0, 0, 0)


@pytest.fixture
def context(sim):
    """Current context of the simulated GPU; a test must leave nothing alive in it."""
    import pycuda.driver as cuda

    cuda.init()
    made = cuda.Device(0).make_context()
    yield made
    made.pop()
    made.detach()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The stand-in in place of TensorRT, and a fatbin."""
    from cudasim import trt
    from cudasim.fatbin import empty_fatbin
    from mms_engine.cuda import kernels as kernel_loading

    trt.install("tensorrt")
    fatbin = empty_fatbin(tmp_path_factory.mktemp("kernels"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_loading, "fatbin_path", lambda: fatbin)
        yield


@pytest.fixture
def on_gpu(sim, installed):
    """Open recognisers on the simulated GPU; closing them must leave nothing alive."""
    from mms_engine import Recognizer, RecognizerOptions

    made = []

    def build(bundle, **options):
        chosen = RecognizerOptions(backend="tensorrt", **options)
        made.append(Recognizer.open(bundle, options=chosen))
        return made[-1]

    yield build
    for recognizer in made:
        recognizer.close()
    left = sim.usage()
    assert (left.allocations, left.host_ranges, left.graphs, left.operations) == (0, 0, 0, 0)
    assert (left.streams, left.events) == (0, 0)
