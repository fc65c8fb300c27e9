"""Properties of a driver that the engine relies on: order, copies, graphs, running out of memory.

They run on a GPU, and on the double of the driver too: tests/cudasim/run.py FILE.
"""

import numpy as np
import pytest

from mms_engine.cuda.context import open_device
from mms_engine.cuda.graphs import CudaGraph
from mms_engine.cuda.memory import DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.errors import DeviceMemoryError

pytestmark = pytest.mark.needs_cuda

VALUES = 1 << 20


@pytest.fixture
def device(gpu):
    opened = open_device()
    with opened.active("testing"):
        yield opened


@pytest.fixture
def made(device):
    """Make resources that are freed after the test."""
    resources = []

    def make(kind, *arguments):
        resources.append(kind(*arguments))
        return resources[-1]

    yield make
    for resource in reversed(resources):
        resource.free()


def test_events_order_streams(device, made) -> None:
    first, second = (made(CudaStream, device) for _ in range(2))
    event, back = (made(CudaEvent, device) for _ in range(2))
    pinned = made(PinnedArray.empty, device, (VALUES,), np.int32)
    array, copy = (made(DeviceArray.empty, device, (VALUES,), np.int32) for _ in range(2))
    found = made(PinnedArray.empty, device, (VALUES,), np.int32)
    for turn in range(20):
        pinned.array[...] = turn
        first.upload(array, pinned.array)
        first.record(event)
        second.wait(event)
        second.copy(copy, array)
        second.download(found.array, copy)
        second.record(back)
        back.wait()
        assert (found.array == turn).all()


def test_pageable_memory_may_change_after_an_upload(device, made) -> None:
    """Staging relies on it: the call has read pageable memory when it returns."""
    stream = made(CudaStream, device)
    array = made(DeviceArray.empty, device, (VALUES,), np.int32)
    host, found = np.full(VALUES, 7, np.int32), np.empty(VALUES, np.int32)
    stream.upload(array, host)
    host[...] = 8
    stream.download(found, array)
    stream.synchronize()
    assert (found == 7).all()


def test_columns_are_copied_within_the_device(device, made) -> None:
    stream = made(CudaStream, device)
    source = made(DeviceArray.empty, device, (5, 8), np.float32)
    target = made(DeviceArray.empty, device, (5, 6), np.float32)
    values, found = np.arange(40, dtype=np.float32).reshape(5, 8), np.empty((5, 6), np.float32)
    stream.upload(source, values)
    stream.clear(target)
    stream.copy_columns(target, 1, source, 3, 4)
    stream.download(found, target)
    stream.synchronize()
    expected = np.zeros((5, 6), np.float32)
    expected[:, 1:5] = values[:, 3:7]
    np.testing.assert_array_equal(found, expected)


def test_columns_are_copied_to_the_host(device, made) -> None:
    """Tokens come back so: one copy for all rows, of as many as the longest has."""
    stream = made(CudaStream, device)
    source = made(DeviceArray.empty, device, (5, 8), np.int64)
    values = np.arange(40).reshape(5, 8)
    stream.upload(source, values)
    pinned = made(PinnedArray.empty, device, (5, 3), np.int64).array
    for target in (pinned, np.empty((5, 3), np.int64)):
        target[...] = -1
        stream.download_columns(target, source)
        stream.synchronize()
        np.testing.assert_array_equal(target, values[:, :3])
    stream.download_columns(np.empty((5, 0), np.int64), source)
    with pytest.raises(ValueError, match=r"9 columns of .* do not go into"):
        stream.download_columns(np.empty((5, 9), np.int64), source)


def test_graph_repeats_its_work_on_what_memory_holds(device, made) -> None:
    stream = made(CudaStream, device)
    source, target = (made(DeviceArray.empty, device, (VALUES,), np.int32) for _ in range(2))
    host = made(PinnedArray.empty, device, (VALUES,), np.int32)
    stream.clear(target)
    graph = made(CudaGraph.capture, stream, lambda: stream.copy(target, source))
    for value in (3, 4):
        host.array[...] = value
        stream.upload(source, host.array)
        graph.launch(stream)
        stream.download(host.array, target)
        stream.synchronize()
        assert (host.array == value).all()


def test_running_out_of_memory_is_an_error_that_leaves_the_rest(device, made) -> None:
    with (
        pytest.raises(DeviceMemoryError, match="out of memory while testing more"),
        device.active("testing more"),
    ):
        DeviceArray.empty(device, (1 << 50,), np.uint8)
    stream = made(CudaStream, device)
    array, found = made(DeviceArray.empty, device, (4,), np.int32), np.ones(4, np.int32)
    stream.clear(array)
    stream.download(found, array)
    stream.synchronize()
    assert not found.any()
    assert device.free_bytes() > 0
