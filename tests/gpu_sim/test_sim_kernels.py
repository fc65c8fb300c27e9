"""Kernels on the double: loading, launch checks and sticky errors."""

import struct

import numpy as np
import pycuda.driver as cuda
import pytest

from cudasim.fatbin import fatbin
from mms_kernels.cuda import arguments, fatbin_path

ROWS, FRAMES, VOCAB = 3, 20, 11


class Frames:
    """Launch of mms_frames on a batch of random logits."""

    def __init__(self):
        self.module = cuda.module_from_buffer(fatbin(75, 80, 86, 90))
        self.function = self.module.get_function("mms_frames")
        self.logits = np.random.default_rng(1).normal(size=(ROWS, FRAMES, VOCAB)).astype("f4")
        self.lengths = np.array([20, 7, 0], np.int64)
        self.inputs = [cuda.to_device(self.logits), cuda.to_device(self.lengths)]
        self.out = cuda.mem_alloc(ROWS * FRAMES * arguments.FRAME.itemsize)
        self.stream = cuda.Stream(1)
        cuda.Context.synchronize()

    def parameters(self, *, lengths=None):
        logits, own = map(int, self.inputs)
        lengths = own if lengths is None else lengths
        batch = arguments.ScoresBatch(logits, ROWS, FRAMES, VOCAB, lengths, 0, 0)
        return bytes(batch) + struct.pack("P", int(self.out))

    def launch(self, parameters, *, threads=64, shared_bytes=0):
        grid = (-(-FRAMES // (threads // 32)), ROWS, 1)
        self.function._launch_kernel(grid, (threads, 1, 1), parameters, shared_bytes, self.stream)

    def close(self):
        for allocation in [*self.inputs, self.out]:
            allocation.free()


@pytest.fixture
def frames(context):
    made = Frames()
    yield made
    made.close()
    vars(made).clear()


@pytest.fixture
def doomed(sim):
    """Frames in a context that ends in an error."""
    cuda.init()
    context = cuda.Device(0).make_context()
    made = Frames()
    yield made
    vars(made).clear()
    context.pop()
    context.detach()
    sim.reset()


@pytest.mark.skipif(fatbin_path() is None, reason="this install has no CUDA kernels: no nvcc")
def test_installed_kernels_load(context):
    assert cuda.module_from_buffer(fatbin_path().read_bytes()).get_function("mms_greedy")


def test_fatbin_for_other_devices_is_rejected(context, sim):
    module = cuda.module_from_buffer(fatbin(80))  # runs on 86
    with pytest.raises(cuda.LogicError, match="named symbol not found"):
        module.get_function("mms_nothing")
    for capability in (75, 89, 90):
        with pytest.raises(cuda.Error, match="no kernel image is available"):
            cuda.module_from_buffer(fatbin(capability))
    with pytest.raises(cuda.Error, match="device kernel image is invalid"):
        cuda.module_from_buffer(b"x" * 100)


def test_parameters_of_another_size_are_a_fault(frames, sim):
    whole = frames.parameters()
    with pytest.raises(cuda.LogicError):
        frames.launch(whole[:-8])
    sim.expect_fault(f"takes {len(whole)} bytes of parameters, got {len(whole) - 8}")


def test_launch_beyond_the_limits_is_a_fault(frames, sim):
    with pytest.raises(cuda.LogicError):
        frames.launch(frames.parameters(), shared_bytes=50_000)
    sim.expect_fault("50000 bytes of dynamic shared memory, allowed are 49152")
    attribute = cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
    frames.function.set_attribute(attribute, 50_000)
    frames.launch(frames.parameters(), shared_bytes=50_000)
    frames.stream.synchronize()
    with pytest.raises(cuda.LogicError):
        frames.function.set_attribute(attribute, 102_400)
    sim.expect_fault("the device has 101376")
    with pytest.raises(cuda.LogicError):
        frames.launch(frames.parameters(), threads=2048)
    sim.expect_fault("more than 1024 threads")


@pytest.mark.parametrize("freed", [False, True])
def test_bad_address_is_a_sticky_error(doomed, sim, freed):
    lengths = int(doomed.inputs[1])
    if freed:
        doomed.inputs[1].free()
    doomed.launch(doomed.parameters(lengths=lengths if freed else lengths + 4096))
    for call in (doomed.stream.synchronize, cuda.mem_get_info):
        with pytest.raises(cuda.Error, match="illegal memory access"):
            call()
    place = r"is byte \d+ of the freed" if freed else r"is \d+ bytes past the"
    sim.expect_fault(rf"mms_frames: access to 0x\w+ {place} allocation")


def test_emulation_error_is_a_launch_failure(doomed, sim):
    doomed.launch(doomed.parameters(), threads=48)
    with pytest.raises(cuda.Error, match="unspecified launch failure"):
        doomed.stream.synchronize()
    sim.expect_fault("mms_frames: a block must be 32, 64")


def test_unordered_kernel_and_copy_are_a_race(frames, sim):
    other = cuda.Stream(1)
    source = cuda.pagelocked_zeros((ROWS, FRAMES, VOCAB), np.float32)
    cuda.memcpy_htod_async(frames.inputs[0], source, other)
    frames.launch(frames.parameters())
    sim.expect_fault("race: mms_frames and cuMemcpyHtoDAsync")
    cuda.Context.synchronize()
