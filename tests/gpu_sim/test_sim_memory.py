"""Memory of the double: contents, refused accesses and leaks."""

import ctypes
import subprocess
import sys

import numpy as np
import pycuda.driver as cuda
import pytest

SIZE = 4000


@pytest.fixture
def device(context, sim):
    """1,000 floats on the device."""
    address = allocate(sim, SIZE)
    yield address
    sim.reset()
    free(sim, address)


def allocate(sim, size):
    address = sim.word(0)
    assert sim.library.cuMemAlloc_v2(ctypes.byref(address), sim.word(size)) == 0
    return address.value


def free(sim, address):
    return sim.library.cuMemFree_v2(sim.word(address))


def test_new_memory_is_nan(device):
    assert np.isnan(cuda.from_device(device, 1000, np.float32)).all()


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (0, "cuMemcpyHtoD: 4004 bytes from byte 0 of the allocation number"),
        (8, "4004 bytes from byte 8 of"),
        (4000, "0 bytes past the allocation number"),
        (-4, "is not a device address|past|never allocated"),
    ],
)
def test_copy_out_of_bounds_is_a_fault(device, sim, offset, message):
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(device + offset, np.zeros(1001, np.float32))
    sim.expect_fault(message)


def test_partial_free_double_free_and_use_after_free_are_faults(context, sim):
    address = allocate(sim, SIZE)
    assert free(sim, address + 256) == 1
    sim.expect_fault("not the start of an allocation")
    assert free(sim, address) == 0
    assert free(sim, address) == 1
    sim.expect_fault("cuMemFree: freed twice")
    with pytest.raises(cuda.LogicError):
        cuda.memcpy_htod(address, np.zeros(4, np.float32))
    sim.expect_fault(r"cuMemcpyHtoD: 0x\w+ is byte 0 of the freed allocation")


def test_host_and_device_addresses_are_told_apart(device, sim):
    assert sim.library.cuMemcpyHtoD_v2(sim.word(device), sim.word(device), sim.word(8)) == 1
    sim.expect_fault("the host's side is device memory")
    host = np.zeros(8, np.uint8)
    with pytest.raises(cuda.LogicError):
        cuda.memcpy_dtod_async(device, host.ctypes.data, 8, cuda.Stream(1))
    sim.expect_fault("is not a device address")


def test_copy_of_lines_respects_both_pitches(device, sim):
    plane = np.arange(60, dtype=np.float32)
    source, stream = cuda.to_device(plane), cuda.Stream(1)
    cuda.Context.synchronize()
    copy = cuda.Memcpy2D()
    copy.set_src_device(source)
    copy.set_dst_device(device)
    copy.src_x_in_bytes, copy.src_pitch, copy.dst_pitch = 8, 40, 64
    copy.width_in_bytes, copy.height = 16, 6
    copy(stream)
    cuda.Context.synchronize()
    got = cuda.from_device(device, (6, 16), np.float32)
    np.testing.assert_array_equal(got[:, :4], plane.reshape(6, 10)[:, 2:6])
    assert np.isnan(got[:5, 4:]).all()
    copy.dst_pitch = 12
    with pytest.raises(cuda.LogicError):
        copy(stream)
    sim.expect_fault("a pitch of 12 for lines of 16 bytes")
    source.free()


def test_nth_allocation_fails_on_demand(context, sim):
    sim.out_of_memory(nth=3, times=2)  # pycuda tries again after a garbage collection
    kept = [cuda.mem_alloc(16), cuda.mem_alloc(16)]
    with pytest.raises(cuda.MemoryError):
        cuda.mem_alloc(16)
    kept.append(cuda.mem_alloc(16))
    for allocation in kept:
        allocation.free()


def test_allocations_are_limited_by_device_memory(context):
    free_before, _ = cuda.mem_get_info()
    first = cuda.mem_alloc(5 << 30)
    with pytest.raises(cuda.MemoryError):
        cuda.mem_alloc(5 << 30)
    assert cuda.mem_get_info()[0] == free_before - (5 << 30)
    first.free()
    assert cuda.mem_get_info()[0] == free_before


def test_resources_of_a_destroyed_context_are_leaks(sim):
    cuda.init()
    context = cuda.Device(0).make_context()
    allocate(sim, 1234)
    stream = cuda.Stream(1)
    context.pop()
    context.detach()
    first, second = sim.faults()
    assert first.startswith("leak at the end of a context: device allocation number ")
    assert first.endswith(" of 1234 bytes")
    assert second == "leak at the end of a context: 1 stream(s)"
    sim.reset()
    del stream
    sim.reset()


def test_call_without_a_context_is_a_fault(sim):
    cuda.init()
    assert sim.library.cuMemAlloc_v2(ctypes.byref(sim.word(0)), sim.word(16)) == 201
    sim.expect_fault("cuMemAlloc: no context is current in this thread")


def test_unsimulated_call_is_a_fault(context, sim):
    with pytest.raises(cuda.Error, match="operation not supported"):
        cuda.managed_empty(4, "f4", mem_flags=cuda.mem_attach_flags.GLOBAL)
    sim.expect_fault("cuMemAllocManaged: not simulated")


PROCESS = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
context, address = ctypes.c_void_p(), ctypes.c_ulonglong()
driver.cuInit(0)
driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
driver.cuCtxPushCurrent_v2(context)
driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(77))
"""


@pytest.mark.parametrize(
    ("access", "code", "message"),
    [
        ("", 0, "cudasim: leak at exit: device allocation number 1 of 77 bytes\n"),
        ("ctypes.string_at(address.value, 8)", -11, "the host touches device memory: 0x"),
    ],
)
def test_leaks_at_exit_and_host_accesses_are_reported(access, code, message):
    command = [sys.executable, "-c", PROCESS + access]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == code
    assert message in done.stderr
