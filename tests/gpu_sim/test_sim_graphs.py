"""Stream capture and graphs of the double."""

import ctypes

import numpy as np
import pycuda.driver as cuda
import pytest

UNSUPPORTED, INVALIDATED, UNMATCHED, UNJOINED = 900, 901, 903, 904


class Driver:
    """The calls that pycuda does not have."""

    def __init__(self, sim):
        self.library = sim.library
        self.word = sim.word
        self.stream = cuda.Stream(1)

    def begin(self, stream, mode=0):
        return self.library.cuStreamBeginCapture_v2(self.word(stream.handle), mode)

    def end(self, stream):
        """Return the code and the graph."""
        graph = self.word(0)
        code = self.library.cuStreamEndCapture(self.word(stream.handle), ctypes.byref(graph))
        return code, graph

    def instantiate(self, graph):
        exec_, flags = self.word(0), self.word(0)
        assert self.library.cuGraphInstantiateWithFlags(ctypes.byref(exec_), graph, flags) == 0
        return exec_

    def launch(self, exec_, stream):
        assert self.library.cuGraphLaunch(exec_, self.word(stream.handle)) == 0

    def nodes(self, graph):
        count = self.word(0)
        assert self.library.cuGraphGetNodes(graph, None, ctypes.byref(count)) == 0
        return count.value


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


def finish(driver, graph, exec_):
    assert driver.library.cuGraphExecDestroy(exec_) == 0
    assert driver.library.cuGraphDestroy(graph) == 0


def test_a_graph_repeats_its_operations_with_the_same_addresses(driver, device, sim):
    stream = driver.stream
    source, result = (cuda.pagelocked_zeros(100, np.int32) for _ in range(2))
    assert driver.begin(stream) == 0
    cuda.memcpy_htod_async(device, source, stream)
    cuda.memcpy_dtoh_async(result, device, stream)
    code, graph = driver.end(stream)
    assert code == 0
    assert driver.nodes(graph) == 2
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
    finish(driver, graph, exec_)


def test_events_carry_a_capture_to_other_streams_and_back(driver, device, sim):
    stream = driver.stream
    side, fork, join = cuda.Stream(1), cuda.Event(), cuda.Event()
    result = cuda.pagelocked_zeros(100, np.int32)
    assert driver.begin(stream) == 0
    cuda.memset_d32_async(device, 5, 100, stream)
    fork.record(stream)
    side.wait_for_event(fork)
    cuda.memset_d32_async(int(device) + 200, 6, 50, side)
    join.record(side)
    stream.wait_for_event(join)
    cuda.memcpy_dtoh_async(result, device, stream)
    code, graph = driver.end(stream)
    assert code == 0
    exec_ = driver.instantiate(graph)
    for seed in range(1, 20):
        sim.order(seed=seed)
        result[:] = 0
        driver.launch(exec_, stream)
        stream.synchronize()
        assert (result[:50] == 5).all()
        assert (result[50:] == 6).all()
    finish(driver, graph, exec_)


def test_unjoined_stream_invalidates_the_capture(driver, device, sim):
    stream = driver.stream
    side, fork = cuda.Stream(1), cuda.Event()
    assert driver.begin(stream) == 0
    fork.record(stream)
    side.wait_for_event(fork)
    cuda.memset_d32_async(device, 6, 50, side)
    code, graph = driver.end(stream)
    assert (code, graph.value) == (UNJOINED, 0)
    sim.expect_fault("no event leads back")


HOST = np.zeros(100, np.int32).ctypes
FORBIDDEN = {
    "alloc": lambda d, s, m: d.library.cuMemAlloc_v2(ctypes.byref(d.word(0)), d.word(16)),
    "free": lambda d, s, m: d.library.cuMemFree_v2(m),
    "synchronize": lambda d, s, m: d.library.cuStreamSynchronize(s),
    "query": lambda d, s, m: d.library.cuStreamQuery(s),
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
    sim.expect_fault("an earlier call has spoilt the capture")


def test_work_outside_cannot_be_waited_for(driver, device, sim):
    stream = driver.stream
    other, event = cuda.Stream(1), cuda.Event()
    event.record(other)
    assert driver.begin(stream) == 0
    with pytest.raises(cuda.Error, match="uncaptured work"):
        stream.wait_for_event(event)
    sim.reset()
    assert driver.end(stream)[0] == INVALIDATED
    sim.reset()


def test_memory_freed_under_a_graph_is_found_when_it_runs(driver, sim):
    stream = driver.stream
    device = cuda.mem_alloc(400)
    assert driver.begin(stream) == 0
    cuda.memset_d32_async(device, 5, 100, stream)
    _, graph = driver.end(stream)
    exec_ = driver.instantiate(graph)
    finish_graph = driver.library.cuGraphDestroy(graph)
    device.free()
    driver.launch(exec_, stream)
    assert driver.library.cuStreamSynchronize(sim.word(stream.handle)) == 700
    assert finish_graph == 0
    sim.expect_fault("in a graph.*freed allocation")
