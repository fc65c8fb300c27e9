"""Streams of the double: late, reordered, and right where events order them."""

import ctypes
import threading

import numpy as np
import pycuda.driver as cuda
import pytest

SEEDS = range(1, 31)


class Chain:
    """A copy to the device on one stream, and a copy of that on another, with or without event."""

    def __init__(self):
        self.first, self.second = cuda.Stream(1), cuda.Stream(1)
        self.source = cuda.pagelocked_empty(100, np.int32)
        self.result = cuda.pagelocked_empty(100, np.int32)
        self.a, self.b = cuda.mem_alloc(400), cuda.mem_alloc(400)
        self.event = cuda.Event()

    def run(self, *, ordered):
        """Return whether what came back is what went in."""
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
        cuda.memset_d8(self.a, 0, 400)
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


def test_without_an_event_the_data_is_wrong_for_some_seeds(chain, sim):
    def outcome(seed):
        sim.order(seed=seed)
        return chain.run(ordered=False)

    first = [outcome(seed) for seed in SEEDS]
    assert set(first) == {True, False}
    assert [outcome(seed) for seed in SEEDS] == first, "a seed gives the same order again"
    sim.reset()


def test_with_an_event_the_data_is_right_in_every_order(chain, sim):
    for seed in SEEDS:
        sim.order(seed=seed, slow_copies=seed % 2 == 0)
        assert chain.run(ordered=True)


def test_a_missing_event_is_a_fault_in_any_order(chain, sim):
    chain.run(ordered=False)
    sim.expect_fault("race: cuMemcpyDtoDAsync and cuMemcpyHtoDAsync touch the same memory")


@pytest.mark.parametrize(("allocate", "read"), [(cuda.pagelocked_empty, 2), (np.empty, 1)])
def test_pinned_memory_is_read_late_and_pageable_memory_at_once(context, allocate, read):
    stream, device = cuda.Stream(1), cuda.mem_alloc(40)
    source = allocate(10, np.int32)
    source[:] = 1
    cuda.memcpy_htod_async(device, source, stream)
    source[:] = 2
    stream.synchronize()
    assert (cuda.from_device(device, 10, np.int32) == read).all()
    device.free()


def filled(array):
    """Return device memory with `array`, for any stream."""
    device = cuda.to_device(array)
    cuda.Context.synchronize()
    return device


@pytest.mark.parametrize("call", ["cuMemcpyHtoD", "cuMemsetD32"])
def test_the_default_stream_is_not_ordered_with_streams_that_do_not_block(context, sim, call):
    """Not even by a plain copy from pageable memory, although it returns after reading it."""
    stream, result = cuda.Stream(1), cuda.pagelocked_zeros(10, np.int32)
    device = cuda.mem_alloc(40)
    if call == "cuMemcpyHtoD":
        cuda.memcpy_htod(device, np.full(10, 7, np.int32))
    else:
        cuda.memset_d32(device, 7, 10)
    cuda.memcpy_dtoh_async(result, device, stream)
    stream.synchronize()
    assert (result == -1).all()
    sim.expect_fault(f"race: cuMemcpyDtoHAsync and {call}")
    cuda.Context.synchronize()
    device.free()


def test_slow_copies_wait_for_other_work(context, sim):
    sim.order(slow_copies=True)
    a, b = cuda.Stream(1), cuda.Stream(1)
    order = []
    functions = [CALLBACK(lambda _, name=name: order.append(name)) for name in ("copy", "other")]
    device, source = cuda.mem_alloc(40), cuda.pagelocked_zeros(10, np.int32)
    cuda.memcpy_htod_async(device, source, a)
    launch(sim, a, functions[0])
    launch(sim, b, functions[1])
    cuda.Context.synchronize()
    assert order == ["other", "copy"]
    device.free()


CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def launch(sim, stream, function):
    assert sim.library.cuLaunchHostFunc(sim.word(stream.handle), function, None) == 0


def test_a_host_function_runs_in_its_place_and_may_not_call_the_driver(context, sim):
    stream, seen = cuda.Stream(1), []
    device, result = filled(np.ones(1, np.int32)), cuda.pagelocked_zeros(1, np.int32)
    count = ctypes.c_int()

    def function(_):
        seen.append((int(result[0]), sim.library.cuDeviceGetCount(ctypes.byref(count))))

    kept = CALLBACK(function)
    cuda.memcpy_dtoh_async(result, device, stream)
    launch(sim, stream, kept)
    assert (seen, result[0]) == ([], 0)
    stream.synchronize()
    assert seen == [(1, 800)]
    sim.expect_fault("cuDeviceGetCount: called by a host function")
    device.free()


def test_the_default_stream_waits_for_blocking_streams_and_they_for_it(context, sim):
    blocking = cuda.Stream()
    device, back = cuda.mem_alloc(4), np.zeros(1, np.int32)
    source = cuda.pagelocked_empty(1, np.int32)
    for seed in SEEDS:
        sim.order(seed=seed)
        source[:] = seed
        cuda.memcpy_htod_async(device, source, blocking)
        cuda.memcpy_dtoh(back, device)
        assert back[0] == seed
        cuda.memset_d32(device, 1000 + seed, 1)
        result = cuda.pagelocked_zeros(1, np.int32)
        cuda.memcpy_dtoh_async(result, device, blocking)
        blocking.synchronize()
        assert result[0] == 1000 + seed
    device.free()


def test_asking_makes_progress(context):
    stream, event, device = cuda.Stream(1), cuda.Event(), cuda.mem_alloc(4)
    cuda.memset_d32_async(device, 5, 1, stream)
    cuda.memset_d32_async(device, 6, 1, stream)
    event.record(stream)
    assert not stream.is_done()
    asked = 0
    while not event.query():
        asked += 1
        assert asked < 10
    assert stream.is_done()
    device.free()


def test_destroyed_and_foreign_streams_are_refused(context, sim):
    stream = cuda.Stream()
    handle = stream.handle
    del stream
    assert sim.library.cuStreamSynchronize(sim.word(handle)) == 400
    sim.expect_fault("cuStreamSynchronize: 0x.* was destroyed")
    stream = cuda.Stream()
    other = cuda.Device(0).make_context()
    assert sim.library.cuStreamSynchronize(sim.word(stream.handle)) == 201
    sim.expect_fault("the stream is of another context")
    other.pop()
    other.detach()


def test_threads_share_the_work(context, sim):
    """Threads that wait for each other's operations end, with Python functions among these."""
    stream, kept, seen = cuda.Stream(1), [], []
    for index in range(50):
        kept.append(CALLBACK(lambda _, index=index: seen.append(index)))
        launch(sim, stream, kept[-1])

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
