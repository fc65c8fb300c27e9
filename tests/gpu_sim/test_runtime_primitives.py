"""Memory, streams, graphs and kernels on the double: behaviour and errors."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from cudasim.fatbin import empty_fatbin
from mms_engine.cuda import context, kernels
from mms_engine.cuda.context import open_device
from mms_engine.cuda.driver import upload
from mms_engine.cuda.graphs import CudaGraph
from mms_engine.cuda.kernels import Kernels
from mms_engine.cuda.layout import pack
from mms_engine.cuda.memory import Buffer, DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.errors import BackendError, DeviceLostError


@pytest.fixture
def device(sim):
    """The GPU; a test must leave nothing of it behind."""
    opened = open_device()
    before = sim.usage()
    with opened.active("testing"):
        yield opened
    left = sim.usage()
    for name in ("allocations", "host_ranges", "streams", "events", "graphs", "operations"):
        assert getattr(left, name) == getattr(before, name), name


def test_array_interface_describes_the_memory(device) -> None:
    array = DeviceArray.empty(device, (3, 4), np.float16)
    interface = array.__cuda_array_interface__
    assert interface["shape"] == (3, 4)
    assert interface["typestr"] == "<f2"
    assert interface["data"] == (array.address, False)
    assert len(array) == 3
    assert array.nbytes == 24
    assert "allocation" not in repr(array)
    array.free()


def test_views_stay_within_the_array(device) -> None:
    array = DeviceArray.empty(device, (3, 4), np.float32)
    assert array.rows(1, 3).address == array.address + 16
    assert array.rows(1, 3).shape == (2, 4)
    assert array.row(2).shape == (4,)
    assert array.view((5,), np.int32, offset=8).address == array.address + 8
    for wrong in [(2, 4), (-1, 2), (2, 1)]:
        with pytest.raises(ValueError, match=r"are not in an array of \(3, 4\)"):
            array.rows(*wrong)
    with pytest.raises(ValueError, match="at byte 8 is not within 48 bytes"):
        array.view((11,), offset=8)
    array.free()


def test_copies_of_different_sizes_are_rejected(device) -> None:
    array, other = (DeviceArray.empty(device, (size,), np.float32) for size in (4, 5))
    stream = CudaStream(device)
    host = np.arange(5, dtype=np.float32)
    for copy in (
        lambda: stream.upload(array, host),
        lambda: stream.download(host, array),
        lambda: stream.copy(array, other),
    ):
        with pytest.raises(ValueError, match="a copy of "):
            copy()
    nothing = DeviceArray.empty(device, (0,), np.float32)
    stream.upload(nothing, host[:0])
    stream.download(host[:0], nothing)
    stream.copy(nothing, nothing)
    stream.clear(nothing)
    stream.free()
    stream.free()
    for each in (array, other, nothing):
        each.free()


def test_event_orders_streams_and_reports_completion(device, sim) -> None:
    sim.order(seed=2, slow_copies=True)
    array, copy = (DeviceArray.empty(device, (64,), np.float32) for _ in range(2))
    pinned = PinnedArray.empty(device, (64,), np.float32)
    pinned.array[:] = np.arange(64)
    first, second, event = CudaStream(device), CudaStream(device), CudaEvent(device)
    first.upload(array, pinned.array)
    first.record(event)
    second.wait(event)
    second.copy(copy, array)
    found = np.zeros(64, np.float32)
    second.download(found, copy)
    second.synchronize()
    np.testing.assert_array_equal(found, np.arange(64))
    event.wait()
    assert event.raw.query()
    event.free()
    for each in (first, second, array, copy, pinned):
        each.free()


def test_upload_is_visible_to_every_stream_and_thread(device, sim) -> None:
    """The copy beside pycuda, of pageable memory, for ONNX Runtime's streams."""
    array, stream = DeviceArray.empty(device, (3, 4), np.float32), CudaStream(device)
    stream.clear(array)
    stream.synchronize()
    values, found = np.arange(8, dtype=np.float32), np.empty((3, 4), np.float32)
    upload(array.row(1).address, values[:4])
    other = threading.Thread(target=upload, args=(array.row(2).address, values[4:]))
    other.start()
    other.join()
    stream.download(found, array)
    stream.synchronize()
    np.testing.assert_array_equal(found.ravel(), [0, 0, 0, 0, *values])
    sim.fail("cuMemcpyHtoD", code=719)
    with pytest.raises(BackendError, match="cuMemcpyHtoD_v2 returned 719"):
        upload(array.address, values[:4])
    stream.free()
    array.free()


def test_buffer_moves_only_when_it_grows(device) -> None:
    buffer = Buffer(device)
    assert buffer.nbytes == 0
    first = buffer.take((10,), np.float32)
    assert buffer.take((5, 2), np.int32).address == first.address
    assert buffer.nbytes == 40
    assert buffer.take((11,), np.float32).shape == (11,)
    assert buffer.nbytes == 44
    buffer.free()
    buffer.free()


def test_arrays_in_one_buffer_are_aligned() -> None:
    layout = pack(lengths=((3,), "int64"), audio=((2, 70), "float32"))
    assert [part.offset for part in layout.parts.values()] == [0, 256]
    assert layout.size == 256 + 768
    memory = np.zeros(layout.size, np.uint8)
    layout.parts["audio"].of(memory)[1, 69] = 1
    assert memory[256 + 560 - 4 : 256 + 560].any()


def test_failed_capture_leaves_the_stream_usable(device, sim) -> None:
    array = DeviceArray.empty(device, (4,), np.float32)
    stream = CudaStream(device)

    def fails() -> None:
        stream.clear(array)
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        CudaGraph.capture(stream, fails)
    sim.fail("cuGraphInstantiate", code=2)
    with pytest.raises(device.driver.Error, match=r"cuGraphInstantiateWithFlags failed: .*2"):
        CudaGraph.capture(stream, lambda: stream.clear(array))
    graph = CudaGraph.capture(stream, lambda: stream.clear(array))
    graph.launch(stream)
    found = np.ones(4, np.float32)
    stream.download(found, array)
    stream.synchronize()
    assert not found.any()
    graph.free()
    graph.free()
    stream.free()
    array.free()


def test_errors_name_the_operation(device, sim) -> None:
    sim.fail("cuMemsetD8Async", code=1)
    array, stream = DeviceArray.empty(device, (4,), np.float32), CudaStream(device)
    with (
        pytest.raises(BackendError, match="Simulated GPU failed while clearing: cuMemsetD8Async"),
        device.active("clearing"),
    ):
        stream.clear(array)
    stream.free()
    array.free()


def test_failure_to_enter_the_context_is_a_lost_device(sim) -> None:
    gpu = open_device()
    sim.fail("cuCtxPushCurrent", code=719)
    with pytest.raises(DeviceLostError, match="lost while clearing"), gpu.active("clearing"):
        pass
    with gpu.active("clearing"):
        assert gpu.free_bytes() > 0


INTEGRATED = """
import sys
from cudasim.control import Simulator
from mms_engine.cuda import context
sim = Simulator()
sim.library.cudasim_integrated(int(sys.argv[1]))
context.available_memory = lambda: 1 << 40
device = context.open_device()
with device.active("testing"):
    free, total = device.driver.mem_get_info()
    print(device.free_bytes() == (total if device.integrated else free))
print(sim.library.cudasim_primary_flags())
"""


@pytest.mark.parametrize(("integrated", "flags"), [(0, 0), (1, 4)])
def test_integrated_gpu_has_the_page_cache_and_does_not_spin(integrated, flags) -> None:
    """cuMemGetInfo counts the cache as used, and a Jetson's plan has just been read through it."""
    command = [sys.executable, "-c", INTEGRATED, str(integrated)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(flags)]


def test_missing_kernels_are_an_error_with_the_remedy(device, sim, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kernels, "fatbin_path", lambda: None)
    with pytest.raises(BackendError, match="this installation has no CUDA kernels"):
        Kernels(device)
    fatbin = empty_fatbin(tmp_path)
    monkeypatch.setattr(kernels, "fatbin_path", lambda: fatbin)
    sim.fail("cuModuleLoadDataEx", code=209)
    sim.fail("cuModuleLoadData", code=209)
    with pytest.raises(BackendError, match=r"for sm 75, 80, .* none of which runs on .* sm 8\.6"):
        Kernels(device)


def test_unusable_driver_is_an_error_with_the_remedy(sim, monkeypatch) -> None:
    undecorated = context.open_device.__wrapped__
    with pytest.raises(BackendError, match=r"GPU 7 cannot be used: .*run mms doctor"):
        undecorated(7)
    sim.reset()  # the double logs the query as a fault
    monkeypatch.setenv("MMS_CUDA_DRIVER", "cupy")
    with pytest.raises(BackendError, match="MMS_CUDA_DRIVER is cupy: set it to cuda-bindings or"):
        undecorated(0)
