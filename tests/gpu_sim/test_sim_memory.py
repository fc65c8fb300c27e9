"""Device memory of the double: what it holds, and what it refuses."""

import numpy as np
import pycuda.driver as cuda
import pytest

SIZE = 4000


@pytest.fixture
def device(context, sim):
    """1,000 floats on the device."""
    address = int(sim_alloc(sim, SIZE))
    yield address
    sim.reset()
    sim.library.cuMemFree_v2(sim.word(address))


def sim_alloc(sim, size):
    address = sim.word(0)
    assert sim.library.cuMemAlloc_v2(sim.pointer(address), sim.word(size)) == 0
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
def test_a_copy_out_of_bounds_is_refused(device, sim, offset, message):
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(device + offset, np.zeros(1001, np.float32))
    sim.expect_fault(message)


def test_memory_is_freed_once_and_whole(context, sim):
    address = sim_alloc(sim, SIZE)
    assert free(sim, address + 256) == 1
    sim.expect_fault("not the start of an allocation")
    assert free(sim, address) == 0
    assert free(sim, address) == 1
    sim.expect_fault("cuMemFree: freed twice")
    with pytest.raises(cuda.LogicError):
        cuda.memcpy_htod(address, np.zeros(4, np.float32))
    sim.expect_fault(r"cuMemcpyHtoD: 0x\w+ is byte 0 of the freed allocation")


def test_the_wrong_side_is_refused(device, sim):
    assert sim.library.cuMemcpyHtoD_v2(sim.word(device), sim.word(device), sim.word(8)) == 1
    sim.expect_fault("the host's side is device memory")
    host = np.zeros(8, np.uint8)
    with pytest.raises(cuda.LogicError):
        cuda.memcpy_dtod(device, host.ctypes.data, 8)
    sim.expect_fault("is not a device address")


def test_fills_repeat_their_value_and_are_aligned(device, sim):
    cuda.memset_d32(device, 0x3F800000, 1000)
    assert (cuda.from_device(device, 1000, np.float32) == 1).all()
    with pytest.raises(cuda.LogicError):
        cuda.memset_d32(device + 2, 0, 1)
    sim.expect_fault("not aligned")


def test_lines_of_a_plane_are_copied(device):
    plane = np.arange(60, dtype=np.float32).reshape(6, 10)
    copy = cuda.Memcpy2D()
    copy.set_src_host(plane)
    copy.set_dst_device(device)
    copy.src_x_in_bytes, copy.src_pitch, copy.dst_pitch = 8, 40, 64
    copy.width_in_bytes, copy.height = 16, 6
    copy(aligned=True)
    got = cuda.from_device(device, (6, 16), np.float32)
    np.testing.assert_array_equal(got[:, :4], plane[:, 2:6])
    assert np.isnan(got[:5, 4:]).all()


def test_the_nth_allocation_fails(context, sim):
    sim.out_of_memory(nth=3, times=2)  # pycuda tries again after a garbage collection
    kept = [cuda.mem_alloc(16), cuda.mem_alloc(16)]
    with pytest.raises(cuda.MemoryError):
        cuda.mem_alloc(16)
    kept.append(cuda.mem_alloc(16))
    for allocation in kept:
        allocation.free()


def test_the_memory_of_the_device_is_its_limit(context, sim):
    free_before, total = cuda.mem_get_info()
    sim.set_memory(sim.usage().bytes + 10_000)
    try:
        first = cuda.mem_alloc(6000)
        with pytest.raises(cuda.MemoryError):
            cuda.mem_alloc(6000)
        assert cuda.mem_get_info()[0] == 4000
        first.free()
        cuda.mem_alloc(6000).free()
    finally:
        sim.set_memory(total)
    assert cuda.mem_get_info()[0] == free_before


def test_memory_of_a_context_that_ends_is_a_leak(sim):
    cuda.init()
    context = cuda.Device(0).make_context()
    sim_alloc(sim, 1234)
    stream = cuda.Stream()
    context.pop()
    context.detach()
    first, second = sim.faults()
    assert first.startswith("leak at the end of a context: device allocation number ")
    assert first.endswith(" of 1234 bytes")
    assert second == "leak at the end of a context: 1 stream(s)"
    sim.reset()
    del stream
    sim.reset()


def test_a_call_without_a_context_is_refused(sim):
    cuda.init()
    assert sim.library.cuMemAlloc_v2(sim.pointer(sim.word(0)), sim.word(16)) == 201
    sim.expect_fault("cuMemAlloc: no context is current in this thread")
