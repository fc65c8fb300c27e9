"""Stream capture and graphs of the double."""

import ctypes

import numpy as np
import pycuda.driver as cuda
import pytest

UNSUPPORTED, INVALIDATED, UNMATCHED, UNJOINED, IMPLICIT = 900, 901, 903, 904, 906


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
        exec_ = self.word(0)
        assert (
            self.library.cuGraphInstantiateWithFlags(ctypes.byref(exec_), graph, self.word(0)) == 0
        )
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


def test_a_graph_repeats_its_operations_with_the_same_addresses(driver, device):
    stream = driver.stream
    source, result = (cuda.pagelocked_zeros(100, np.int32) for _ in range(2))
    assert driver.begin(stream) == 0
    cuda.memcpy_htod_async(device, source, stream)
    cuda.memcpy_dtoh_async(result, device, stream)
    code, graph = driver.end(stream)
    assert code == 0
    assert driver.nodes(graph) == 2
    exec_ = driver.instantiate(graph)
    assert (result == 0).all()
    for value in range(1, 6):
        source[:] = value
        driver.launch(exec_, stream)
        stream.synchronize()
        assert (result == value).all()
    finish(driver, graph, exec_)


def test_a_capture_runs_nothing(driver, device):
    stream = driver.stream
    assert driver.begin(stream) == 0
    cuda.memset_d32_async(device, 5, 100, stream)
    _, graph = driver.end(stream)
    assert (cuda.from_device(device, 100, np.int32) == -1).all()
    assert driver.library.cuGraphDestroy(graph) == 0


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


def test_launches_of_a_graph_follow_each_other_on_any_streams(driver, device, sim):
    a, b = cuda.Stream(1), cuda.Stream(1)
    assert driver.begin(a) == 0
    cuda.memset_d32_async(device, 5, 100, a)
    _, graph = driver.end(a)
    exec_ = driver.instantiate(graph)
    driver.launch(exec_, a)
    driver.launch(exec_, b)
    cuda.Context.synchronize()
    finish(driver, graph, exec_)


def test_a_stream_that_does_not_come_back_spoils_the_capture(driver, device, sim):
    stream = driver.stream
    side, fork = cuda.Stream(1), cuda.Event()
    assert driver.begin(stream) == 0
    fork.record(stream)
    side.wait_for_event(fork)
    cuda.memset_d32_async(device, 6, 50, side)
    code, graph = driver.end(stream)
    assert (code, graph.value) == (UNJOINED, 0)
    sim.expect_fault("no event leads back")


def forbidden(name):
    """Return a call that a capture forbids, as a function of (driver, stream, device)."""
    host = np.zeros(100, np.int32)
    word = ctypes.c_uint64
    calls = {
        "alloc": lambda d, s, m: d.library.cuMemAlloc_v2(ctypes.byref(word()), word(16)),
        "free": lambda d, s, m: d.library.cuMemFree_v2(word(int(m))),
        "synchronize": lambda d, s, m: d.library.cuStreamSynchronize(word(s.handle)),
        "query": lambda d, s, m: d.library.cuStreamQuery(word(s.handle)),
        "context": lambda d, s, m: d.library.cuCtxSynchronize(),
        "copy": lambda d, s, m: d.library.cuMemcpyHtoD_v2(
            word(int(m)), host.ctypes.data_as(ctypes.c_void_p), word(400)
        ),
        "pageable": lambda d, s, m: d.library.cuMemcpyHtoDAsync_v2(
            word(int(m)), host.ctypes.data_as(ctypes.c_void_p), word(400), word(s.handle)
        ),
    }
    return calls[name]


@pytest.mark.parametrize(
    "name", ["alloc", "free", "synchronize", "query", "context", "copy", "pageable"]
)
def test_what_a_capture_forbids_spoils_it(driver, device, sim, name):
    stream = driver.stream
    assert driver.begin(stream) == 0
    assert forbidden(name)(driver, stream, device) == UNSUPPORTED
    sim.reset()
    assert driver.end(stream)[0] == INVALIDATED
    sim.expect_fault("an earlier call has spoilt the capture")


def test_a_relaxed_capture_lets_other_calls_be(driver, device):
    stream = driver.stream
    assert driver.begin(stream, mode=2) == 0
    cuda.mem_alloc(16).free()
    code, graph = driver.end(stream)
    assert code == 0
    assert driver.library.cuGraphDestroy(graph) == 0


def test_the_default_stream_spoils_the_capture_of_a_blocking_one(driver, device, sim):
    blocking = cuda.Stream()
    assert driver.begin(blocking) == 0
    assert driver.library.cuMemsetD32_v2(sim.word(int(device)), 0, sim.word(1)) == IMPLICIT
    sim.reset()
    assert driver.end(blocking)[0] == INVALIDATED
    sim.reset()


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


def test_an_end_without_a_beginning_is_refused(driver, sim):
    stream = driver.stream
    assert driver.end(stream)[0] == UNMATCHED
    sim.expect_fault("the stream captures nothing")


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
