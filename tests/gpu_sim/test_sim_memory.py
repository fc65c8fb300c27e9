"""Device memory of the double: what it holds, and what it refuses."""

import numpy as np
import pycuda.driver as cuda
import pytest


def test_a_copy_goes_there_and_back(context):
    there = np.arange(1000, dtype=np.float32)
    device = cuda.to_device(there)
    back = np.empty_like(there)
    cuda.memcpy_dtoh(back, device)
    np.testing.assert_array_equal(back, there)
    device.free()


def test_new_memory_is_nan(context):
    device = cuda.mem_alloc(4000)
    assert np.isnan(cuda.from_device(device, 1000, np.float32)).all()
    device.free()


@pytest.mark.parametrize("offset", [0, 4000])
def test_a_copy_out_of_bounds_is_refused(context, sim, offset):
    device = cuda.mem_alloc(4000)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(int(device) + offset, np.zeros(1001, np.float32))
    (fault,) = sim.faults()
    assert "cuMemcpyHtoD" in fault
    assert "4000 bytes" in fault
    sim.reset()
    device.free()
