"""Stream capture and graphs of the double."""

import ctypes

import numpy as np
import pycuda.driver as cuda
import pytest

NOT_SUPPORTED, UNSUPPORTED, INVALIDATED, UNMATCHED = 801, 900, 901, 903
THREAD_LOCAL = 1


class Driver:
    """Calls that pycuda does not have."""

    def __init__(self, sim):
        self.library = sim.library
        self.word = sim.word
        self.stream = cuda.Stream(1)

    def begin(self, stream, mode=THREAD_LOCAL):
        return self.library.cuStreamBeginCapture_v2(self.word(stream.handle), mode)

    def end(self, stream):
        """Return the code and the graph."""
        graph = self.word(0)
        code = self.library.cuStreamEndCapture(self.word(stream.handle), ctypes.byref(graph))
        return code, graph

    def instantiate(self, graph):
        exec_, flags = self.word(0), self.word(0)
        assert self.library.cuGraphInstantiateWithFlags(ctypes.byref(exec_), graph, flags) == 0
        assert self.library.cuGraphDestroy(graph) == 0
        return exec_

    def launch(self, exec_, stream):
        assert self.library.cuGraphLaunch(exec_, self.word(stream.handle)) == 0


@pytest.fixture
def driver(context, sim):
    made = Driver(sim)
    yield made
    vars(made).clear()


@pytest.fixture
def device(driver):
    allocation = cuda.mem_alloc(400)
    yield allocation
    allocation.free()


def test_graph_repeats_its_operations_on_the_same_addresses(driver, device, sim):
    stream = driver.stream
    source, result = (cuda.pagelocked_zeros(100, np.int32) for _ in range(2))
    assert driver.begin(stream) == 0
    cuda.memcpy_htod_async(device, source, stream)
    cuda.memcpy_dtoh_async(result, device, stream)
    code, graph = driver.end(stream)
    assert code == 0
    exec_ = driver.instantiate(graph)
    assert (result == 0).all(), "the capture itself runs nothing"
    for value in range(1, 6):
        source[:] = value
        driver.launch(exec_, stream)
        stream.synchronize()
        assert (result == value).all()
    driver.launch(exec_, stream)
    driver.launch(exec_, cuda.Stream(1))  # launches of one graph follow each other
    cuda.Context.synchronize()
    assert driver.end(stream)[0] == UNMATCHED
    sim.expect_fault("the stream captures nothing")
    assert driver.library.cuGraphExecDestroy(exec_) == 0


HOST = np.zeros(100, np.int32).ctypes
FORBIDDEN = {
    "alloc": lambda d, s, m: d.library.cuMemAlloc_v2(ctypes.byref(d.word(0)), d.word(16)),
    "free": lambda d, s, m: d.library.cuMemFree_v2(m),
    "synchronize": lambda d, s, m: d.library.cuStreamSynchronize(s),
    "context": lambda d, s, m: d.library.cuCtxSynchronize(),
    "copy": lambda d, s, m: d.library.cuMemcpyHtoD_v2(m, d.word(HOST.data), d.word(400)),
    "pageable": lambda d, s, m: d.library.cuMemcpyHtoDAsync_v2(
        m, d.word(HOST.data), d.word(400), s
    ),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_calls_forbidden_during_capture_invalidate_it(driver, device, sim, name):
    stream = driver.stream
    assert driver.begin(stream) == 0
    call = FORBIDDEN[name]
    assert call(driver, sim.word(stream.handle), sim.word(int(device))) == UNSUPPORTED
    sim.reset()
    assert driver.end(stream)[0] == INVALIDATED
    sim.expect_fault("an earlier call invalidated the capture")


def test_events_in_a_capture_invalidate_it(driver, sim):
    stream, other, event = driver.stream, cuda.Stream(1), cuda.Event()
    event.record(other)
    for call, reason in [
        (stream.wait_for_event, "uncaptured work"),
        (lambda event: event.record(stream), "not supported"),
    ]:
        assert driver.begin(stream) == 0
        with pytest.raises(cuda.Error, match=reason):
            call(event)
        assert driver.end(stream)[0] == INVALIDATED
        sim.reset()


def test_captures_other_than_thread_local_are_refused(driver, sim):
    assert driver.begin(driver.stream, mode=0) == NOT_SUPPORTED
    sim.expect_fault("only thread-local captures")


def test_memory_freed_under_a_graph_is_a_fault_when_it_runs(driver, sim):
    stream = driver.stream
    device = cuda.mem_alloc(400)
    assert driver.begin(stream) == 0
    cuda.memset_d8_async(device, 5, 400, stream)
    exec_ = driver.instantiate(driver.end(stream)[1])
    device.free()
    driver.launch(exec_, stream)
    assert driver.library.cuStreamSynchronize(sim.word(stream.handle)) == 700
    sim.expect_fault("in a graph.*freed allocation")
