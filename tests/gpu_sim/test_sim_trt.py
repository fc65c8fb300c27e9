"""The stand-in for TensorRT: graphs run where the simulated stream has them."""

import numpy as np
import onnx
import pycuda.driver as cuda
import pytest
from onnx import TensorProto, helper

from cudasim import trt
from cudasim.plan import SimulatedPlan, to_bytes

WIDTH = 8
PROFILES = [
    {"x": ((1, WIDTH), (2, WIDTH), (4, WIDTH))},
    {"x": ((5, WIDTH), (8, WIDTH), (16, WIDTH))},
]


class Lines(trt.ILogger):
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def log(self, severity, message):
        self.lines.append(message)


def make_graph(path, kind=TensorProto.FLOAT):
    """Write y = x · w, doubled rows at a time, and return the weights."""
    weights = np.random.default_rng(0).normal(size=(WIDTH, 3)).astype(np.float32)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, ["rows", WIDTH])],
        [helper.make_tensor_value_info("y", kind, ["rows", 3])],
        [onnx.numpy_helper.from_array(weights.astype(dtype), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return weights


class Work:
    """An engine with a context, buffers for four rows, and a stream."""

    def __init__(self, path, kind=TensorProto.FLOAT, **options):
        self.weights = make_graph(path, kind)
        self.logger = Lines()
        options = {"version": trt.__version__, "profiles": PROFILES} | options
        self.plan = to_bytes(SimulatedPlan(graph=str(path), **options))
        self.engine = trt.Runtime(self.logger).deserialize_cuda_engine(self.plan)
        if self.engine is None:
            return
        self.context = self.engine.create_execution_context()
        self.x = cuda.pagelocked_empty((4, WIDTH), helper.tensor_dtype_to_np_dtype(kind))
        self.y = cuda.pagelocked_empty((4, 3), self.x.dtype)
        self.x[:] = np.random.default_rng(2).normal(size=self.x.shape)
        self.buffers = {"x": cuda.mem_alloc(self.x.nbytes), "y": cuda.mem_alloc(self.y.nbytes)}
        self.stream = cuda.Stream(1)

    def bind(self, rows=4):
        assert self.context.set_input_shape("x", (rows, WIDTH))
        for name, buffer in self.buffers.items():
            assert self.context.set_tensor_address(name, int(buffer))

    def enqueue(self):
        cuda.memcpy_htod_async(self.buffers["x"], self.x, self.stream)
        assert self.context.execute_async_v3(self.stream.handle)
        cuda.memcpy_dtoh_async(self.y, self.buffers["y"], self.stream)

    def wanted(self):
        return self.x.astype(np.float32) @ self.weights

    def close(self):
        for buffer in getattr(self, "buffers", {}).values():
            buffer.free()
        vars(self).clear()


@pytest.fixture
def work(context, tmp_path):
    made = Work(tmp_path / "g.onnx")
    yield made
    made.close()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_run_is_the_graphs(context, tmp_path, sim, seed, kind):
    sim.order(seed=seed)
    work = Work(tmp_path / "g.onnx", kind)
    work.bind()
    work.enqueue()
    work.stream.synchronize()
    atol = 0 if kind == TensorProto.FLOAT else 2e-2
    np.testing.assert_allclose(work.y, work.wanted(), rtol=1e-5, atol=atol)
    work.close()


def test_shapes_and_addresses_are_those_of_the_call(work):
    work.bind(rows=2)
    work.y[:] = 0
    work.enqueue()
    work.bind(rows=4)
    work.stream.synchronize()
    np.testing.assert_allclose(work.y[:2], work.wanted()[:2], rtol=1e-5)
    assert np.isnan(work.y[2:]).all()


def test_a_profile_is_of_one_context(work):
    other = work.engine.create_execution_context()
    assert other.active_optimization_profile == -1
    assert not other.set_input_shape("x", (4, WIDTH))
    assert not other.set_optimization_profile_async(0, work.stream.handle)
    assert "in use by another execution context" in work.logger.lines[-1]
    assert other.set_optimization_profile_async(1, work.stream.handle)
    assert other.set_input_shape("x", (5, WIDTH))
    del other
    again = work.engine.create_execution_context()
    assert again.set_optimization_profile_async(1, work.stream.handle)


def test_a_run_needs_shapes_and_addresses(work):
    context, stream = work.context, work.stream.handle
    assert context.infer_shapes() == ["x"]
    assert not context.execute_async_v3(stream)
    assert context.set_input_shape("x", (4, WIDTH))
    assert context.infer_shapes() == []
    assert tuple(context.get_tensor_shape("y")) == (4, 3)
    assert context.set_tensor_address("x", int(work.buffers["x"]))
    assert not context.execute_async_v3(stream)
    assert work.logger.lines[-1].endswith("no address for y")
    assert not context.set_tensor_address("y", int(work.buffers["y"]) + 4)
    assert not context.set_tensor_address("z", int(work.buffers["y"]))


def test_two_runs_of_a_context_that_nothing_orders_are_a_fault(work, sim):
    work.bind()
    other = cuda.Stream(1)
    assert work.context.execute_async_v3(work.stream.handle)
    assert work.context.execute_async_v3(other.handle)
    sim.expect_fault("race: execute_async_v3 and execute_async_v3")
    cuda.Context.synchronize()


def test_a_buffer_that_is_too_small_is_an_error_of_the_run(sim, tmp_path):
    cuda.init()
    context = cuda.Device(0).make_context()
    work = Work(tmp_path / "g.onnx")
    work.bind()
    work.buffers["y"].free()
    work.buffers["y"] = cuda.mem_alloc(4)
    work.bind()
    assert work.context.execute_async_v3(work.stream.handle)
    with pytest.raises(cuda.Error, match="illegal memory access"):
        work.stream.synchronize()
    vars(work).clear()
    context.pop()
    context.detach()
    sim.expect_fault("execute_async_v3: 48 bytes from byte 0 of .* of 4 bytes do not fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "10.1.0"}, "not compatible with this version of TensorRT"),
        ({"capabilities": [90]}, "incompatible device, expecting compute 8.6 got compute 9.0"),
        ({"weight_bytes": 1 << 40}, "device memory"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(context, tmp_path, options, message):
    work = Work(tmp_path / "g.onnx", **options)
    assert work.engine is None
    assert message in work.logger.lines[0]
    work.close()


def test_an_engine_and_its_contexts_take_memory(context, tmp_path, sim):
    before = sim.usage().bytes
    work = Work(tmp_path / "g.onnx", weight_bytes=1000, scratch_bytes=300)
    assert sim.usage().bytes == before + 1300 + work.x.nbytes + work.y.nbytes
    sim.out_of_memory()
    assert work.engine.create_execution_context() is None
    work.close()
    assert sim.usage().bytes == before
