"""What is settled when a process starts or ends: the device, its absence, the report."""

import os
import subprocess
import sys

import pytest

RUN = """
import pycuda.driver as cuda
cuda.init()
context = cuda.Device(0).make_context()
{body}
context.pop()
context.detach()
"""


def start(body, **variables):
    environ = os.environ | {f"CUDASIM_{name}": str(value) for name, value in variables.items()}
    return subprocess.run(
        [sys.executable, "-c", body], check=False, capture_output=True, text=True, env=environ
    )


def test_environment_configures_the_device():
    body = """
import pycuda.driver as cuda
cuda.init()
device = cuda.Device(0)
print(device.name(), device.compute_capability(), device.total_memory())
print(device.multiprocessor_count)
print(cuda.get_driver_version())
"""
    done = start(body, NAME="Test GPU", SM=90, MEMORY=1 << 34, MULTIPROCESSORS=7, DRIVER=12040)
    assert done.stdout.splitlines() == ["Test GPU (9, 0) 17179869184", "7", "12040"]


def test_no_device():
    done = start("import pycuda.driver as cuda; cuda.init()", DEVICES=0)
    assert "no CUDA-capable device is detected" in done.stderr


def test_an_ordered_failure():
    done = start(RUN.format(body="cuda.mem_alloc(5)"), FAIL="cuMemAlloc:1:2,cuMemAlloc:2:2")
    assert "MemoryError: cuMemAlloc failed: out of memory" in done.stderr


def test_a_leak_is_reported_at_the_end(tmp_path):
    body = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
context, address = ctypes.c_void_p(), ctypes.c_ulonglong()
driver.cuInit(0)
driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
driver.cuCtxPushCurrent_v2(context)
driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(77))
"""
    done = start(body, REPORT=tmp_path / "report")
    line = "leak at exit: device allocation number 1 of 77 bytes"
    assert (tmp_path / "report").read_text() == f"{line}\n"
    assert done.stderr == f"cudasim: {line}\n"
    assert start(body, QUIET=1).stderr == ""


@pytest.mark.parametrize("guard", [1, 0])
def test_the_host_cannot_touch_device_memory(guard):
    body = """
import ctypes
a = cuda.mem_alloc(8)
print(ctypes.string_at(int(a), 8))
a.free()"""
    done = start(RUN.format(body=body), HOST_GUARD=guard)
    if guard:
        assert done.returncode == -11
        assert "the host touches device memory: 0x" in done.stderr
        assert "byte 0 of the allocation number 1 of 8 bytes" in done.stderr
    else:
        assert done.stdout.strip() == str(b"\xff" * 8)


def test_unsimulated_calls_are_reported():
    body = "cuda.managed_empty(4, 'f4', mem_flags=cuda.mem_attach_flags.GLOBAL)"
    done = start(RUN.format(body=body))
    assert "operation not supported" in done.stderr
    assert "cuMemAllocManaged: not simulated" in done.stderr
