"""Streams of the double: late and reordered, except as events order them."""

import ctypes
import threading

import numpy as np
import pycuda.driver as cuda
import pytest

SEEDS = range(1, 31)


class Chain:
    """Copy to the device on one stream and from there on another, with or without event."""

    def __init__(self):
        self.first, self.second = cuda.Stream(1), cuda.Stream(1)
        self.source = cuda.pagelocked_empty(100, np.int32)
        self.result = cuda.pagelocked_empty(100, np.int32)
        self.a, self.b = cuda.mem_alloc(400), cuda.mem_alloc(400)
        self.event = cuda.Event()

    def run(self, *, ordered):
        """Return whether the values came back unchanged."""
        self.source[:] = np.arange(100)
        cuda.memcpy_htod_async(self.a, self.source, self.first)
        if ordered:
            self.event.record(self.first)
            self.second.wait_for_event(self.event)
        cuda.memcpy_dtod_async(self.b, self.a, 400, self.second)
        cuda.memcpy_dtoh_async(self.result, self.b, self.second)
        self.second.synchronize()
        right = bool((self.result == np.arange(100)).all())
        self.first.synchronize()
        cuda.memset_d8_async(self.a, 0, 400, self.first)
        cuda.Context.synchronize()
        return right

    def close(self):
        self.a.free()
        self.b.free()


@pytest.fixture
def chain(context):
    made = Chain()
    yield made
    made.close()
    for name in list(vars(made)):
        delattr(made, name)


def test_missing_event_gives_wrong_data_for_some_seeds(chain, sim):
    def outcome(seed):
        sim.order(seed=seed)
        return chain.run(ordered=False)

    first = [outcome(seed) for seed in SEEDS]
    assert set(first) == {True, False}
    assert [outcome(seed) for seed in SEEDS] == first, "a seed gives the same order again"
    sim.reset()


def test_event_gives_right_data_in_every_order(chain, sim):
    for seed in SEEDS:
        sim.order(seed=seed, slow_copies=seed % 2 == 0)
        assert chain.run(ordered=True)


def test_missing_event_is_a_fault_in_any_order(chain, sim):
    chain.run(ordered=False)
    sim.expect_fault("race: cuMemcpyDtoDAsync and cuMemcpyHtoDAsync touch the same memory")


@pytest.mark.parametrize(("allocate", "read"), [(cuda.pagelocked_empty, 2), (np.empty, 1)])
def test_copies_read_pinned_memory_late_and_pageable_memory_at_once(context, allocate, read):
    stream, device = cuda.Stream(1), cuda.mem_alloc(40)
    source = allocate(10, np.int32)
    source[:] = 1
    cuda.memcpy_htod_async(device, source, stream)
    source[:] = 2
    stream.synchronize()
    assert (cuda.from_device(device, 10, np.int32) == read).all()
    device.free()


def test_default_stream_is_not_ordered_with_other_streams(context, sim):
    """Not even by a plain copy from pageable memory, although it returns after reading it."""
    stream, result = cuda.Stream(1), cuda.pagelocked_zeros(10, np.int32)
    device = cuda.mem_alloc(40)
    cuda.memcpy_htod(device, np.full(10, 7, np.int32))
    cuda.memcpy_dtoh_async(result, device, stream)
    stream.synchronize()
    assert (result == -1).all()
    sim.expect_fault("race: cuMemcpyDtoHAsync and cuMemcpyHtoD")
    cuda.Context.synchronize()
    device.free()


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)


@pytest.fixture
def enqueue(sim):
    """Enqueue a Python function on a stream; kept alive until the test ends."""
    kept = []

    def call(stream, function):
        kept.append(CALLBACK(lambda *_: function() or 0))
        order = (sim.word(stream.handle), b"function", kept[-1], b"", sim.word(0), None)
        assert sim.library.cudasim_enqueue(*order, sim.word(0)) == 0

    yield call
    kept.clear()


def test_slow_copies_wait_for_other_work(context, sim, enqueue):
    sim.order(slow_copies=True)
    a, b = cuda.Stream(1), cuda.Stream(1)
    order = []
    device, source = cuda.mem_alloc(40), cuda.pagelocked_zeros(10, np.int32)
    cuda.memcpy_htod_async(device, source, a)
    enqueue(a, lambda: order.append("copy"))
    enqueue(b, lambda: order.append("other"))
    cuda.Context.synchronize()
    assert order == ["other", "copy"]
    device.free()


def test_function_runs_in_order_and_may_not_call_the_driver(context, sim, enqueue):
    stream, seen = cuda.Stream(1), []
    device, result = cuda.to_device(np.ones(1, np.int32)), cuda.pagelocked_zeros(1, np.int32)
    cuda.Context.synchronize()
    count = ctypes.c_int()

    def function():
        seen.append((int(result[0]), sim.library.cuDeviceGetCount(ctypes.byref(count))))

    cuda.memcpy_dtoh_async(result, device, stream)
    enqueue(stream, function)
    assert (seen, result[0]) == ([], 0)
    stream.synchronize()
    assert seen == [(1, 800)]
    sim.expect_fault("cuDeviceGetCount: called by a host function")
    device.free()


def test_event_query_makes_progress(context):
    stream, event, device = cuda.Stream(1), cuda.Event(), cuda.mem_alloc(4)
    cuda.memset_d8_async(device, 5, 4, stream)
    cuda.memset_d8_async(device, 6, 4, stream)
    event.record(stream)
    asked = 0
    while not event.query():
        asked += 1
        assert asked < 10
    assert asked > 0
    device.free()


def test_blocking_destroyed_and_foreign_streams_are_refused(context, sim):
    with pytest.raises(cuda.Error, match="not supported"):
        cuda.Stream()
    sim.expect_fault("only non-blocking streams")
    stream = cuda.Stream(1)
    handle = stream.handle
    del stream
    assert sim.library.cuStreamSynchronize(sim.word(handle)) == 400
    sim.expect_fault("cuStreamSynchronize: 0x.* was destroyed")
    stream = cuda.Stream(1)
    other = cuda.Device(0).make_context()
    assert sim.library.cuStreamSynchronize(sim.word(stream.handle)) == 201
    sim.expect_fault("the stream is of another context")
    other.pop()
    other.detach()


def test_threads_that_wait_for_python_functions_do_not_deadlock(context, sim, enqueue):
    stream, seen = cuda.Stream(1), []
    for index in range(50):
        enqueue(stream, lambda index=index: seen.append(index))

    def wait():
        context.push()
        stream.synchronize()
        context.pop()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert seen == list(range(50))
