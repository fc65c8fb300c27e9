"""Stand-in for the module `tensorrt` on the double of the CUDA driver.

It has the documented names that the engine uses, and returns None or False with a line of the
logger where TensorRT does. A plan (`cudasim.plan`) names an ONNX graph; an execution is an
operation of the simulated stream that runs it with ONNX Runtime on the CPU, on the simulated device
memory at the addresses that were set when it was enqueued.
"""

import ctypes
import enum
import sys
from collections.abc import Sequence

from cudasim import plan as plans
from cudasim.execution import Execution, Graph

__version__ = "10.99.0"


class ExecutionContextAllocationStrategy(enum.Enum):
    """Allocation of a context's device memory."""

    STATIC = 0
    USER_MANAGED = 2


class ILogger:
    """Base class of loggers; `log(severity, message)` is called."""

    class Severity(enum.IntEnum):
        """Severity of a message."""

        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity


class Runtime:
    """Reader of plans."""

    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        """Return the engine, or None unless it is a plan of this version and device."""
        try:
            plan = plans.from_bytes(bytes(serialized_engine))
            _require_fit(plan)
            return ICudaEngine(plan, self.logger)
        except (ValueError, MemoryError) as error:
            self.logger.log(ILogger.ERROR, f"IRuntime::deserializeCudaEngine: Error: {error}")
            return None


def _require_fit(plan: plans.SimulatedPlan) -> None:
    if plan.version != __version__:
        raise ValueError(
            f"The engine plan file is not compatible with this version of TensorRT, expecting "
            f"library version {__version__} got {plan.version}, please rebuild."
        )
    major, minor = ctypes.c_int(), ctypes.c_int()
    _driver().cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), 0)
    capability = 10 * major.value + minor.value
    if plan.capabilities and capability not in plan.capabilities:
        raise ValueError(
            f"The engine plan file is generated on an incompatible device, expecting compute "
            f"{capability / 10} got compute {plan.capabilities[0] / 10}, please rebuild."
        )


def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


class _DeviceBytes:
    """Device memory of an engine or a context, freed with it."""

    def __init__(self, size):
        self.address = ctypes.c_ulonglong()
        self.context = ctypes.c_void_p()
        _driver().cuCtxGetCurrent(ctypes.byref(self.context))
        size = ctypes.c_size_t(size)
        if _driver().cuMemAlloc_v2(ctypes.byref(self.address), size):
            self.address.value = 0
            raise MemoryError(f"no {size.value} bytes of device memory")

    def __del__(self):
        if self.address.value and not _driver().cuCtxPushCurrent_v2(self.context):
            _driver().cuMemFree_v2(self.address)
            _driver().cuCtxPopCurrent_v2(None)


class ICudaEngine:
    """Deserialised plan: tensors and profiles."""

    def __init__(self, plan, logger):
        self.graph = Graph(plan.graph)
        self.plan = plan
        self.logger = logger
        self.profile_users: dict[int, int] = {}
        self._weights = _DeviceBytes(plan.weight_bytes)

    @property
    def num_io_tensors(self):
        return len(self.graph.tensors)

    @property
    def num_optimization_profiles(self):
        return len(self.plan.profiles)

    def get_tensor_name(self, index):
        return list(self.graph.tensors)[index]

    def get_tensor_dtype(self, name):
        return self.graph.tensors[name].trt_type

    def get_tensor_shape(self, name):
        return self.graph.tensors[name].shape

    def get_tensor_profile_shape(self, name, profile_index):
        profile = self.plan.profiles[profile_index]
        static = [self.graph.tensors[name].shape] * 3
        return [tuple(shape) for shape in profile.get(name, static)]

    def create_execution_context(self, strategy=ExecutionContextAllocationStrategy.STATIC):
        """Return a context, with the first profile if it is free; None without memory."""
        own = strategy is ExecutionContextAllocationStrategy.STATIC
        try:
            return IExecutionContext(self, _DeviceBytes(self.plan.scratch_bytes) if own else None)
        except MemoryError as error:
            self.logger.log(ILogger.ERROR, f"ICudaEngine::createExecutionContext: {error}")
            return None


class IExecutionContext:
    """Execution of an engine with one profile and one set of shapes and addresses."""

    def __init__(self, engine, scratch):
        self.engine = engine
        self._scratch = scratch
        self._scratch_bytes = engine.plan.scratch_bytes if scratch else 0
        address = scratch.address.value if scratch else 0
        self._execution = Execution(engine.graph, address, engine.plan.gathered)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.active_optimization_profile = -1
        if 0 not in engine.profile_users:
            self._take_profile(0)

    def __del__(self):
        self.engine.profile_users.pop(getattr(self, "active_optimization_profile", -1), None)

    def set_optimization_profile_async(self, profile_index, stream_handle):
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._refuse("setOptimizationProfileAsync", f"no profile {profile_index}")
        if self.engine.profile_users.get(profile_index, id(self)) != id(self):
            reason = f"profile {profile_index} is in use by another execution context"
            return self._refuse("setOptimizationProfileAsync", reason)
        self._take_profile(profile_index)
        return True

    def _take_profile(self, index):
        self.engine.profile_users.pop(self.active_optimization_profile, None)
        self.engine.profile_users[index] = id(self)
        self.active_optimization_profile = index
        self._shapes = {}

    def set_input_shape(self, name, shape: Sequence[int]):
        shape = tuple(int(size) for size in shape)
        tensor = self.engine.graph.tensors.get(name)
        if tensor is None or not tensor.is_input:
            return self._refuse("setInputShape", f"there is no input {name}")
        if self.active_optimization_profile < 0:
            return self._refuse("setInputShape", "no optimization profile was set")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=False))
        if len(shape) != len(low) or not fits:
            return self._refuse(
                "setInputShape",
                f"{name} {shape} is not in profile {self.active_optimization_profile}, "
                f"which goes from {low} to {high}",
            )
        self._shapes[name] = shape
        return True

    def set_tensor_address(self, name, memory):
        if name not in self.engine.graph.tensors:
            return self._refuse("setTensorAddress", f"there is no tensor {name}")
        if memory % 256:
            return self._refuse("setTensorAddress", f"{name}: {memory:#x} is not 256-byte aligned")
        self._addresses[name] = int(memory)
        return True

    def update_device_memory_size_for_shapes(self):
        """Return the device memory of a run with the current shapes, in bytes."""
        return self.engine.plan.scratch_bytes

    def set_device_memory(self, memory, size):
        """Use the caller's memory as the scratch memory of runs."""
        if memory % 256:
            self._refuse("setDeviceMemoryV2", f"{memory:#x} is not 256-byte aligned")
            return
        self._execution.scratch = memory
        self._scratch_bytes = size

    def infer_shapes(self):
        """Return the inputs without a shape."""
        return [name for name in self._inputs() if -1 in self.get_tensor_shape(name)]

    def get_tensor_shape(self, name):
        tensor = self.engine.graph.tensors[name]
        if tensor.is_input:
            return self._shapes.get(name, tensor.shape)
        if self.infer_shapes():
            return tensor.shape
        return self.engine.graph.output_shapes(self._input_shapes())[name]

    def execute_async_v3(self, stream_handle):
        missing = self.infer_shapes()
        if missing:
            return self._refuse("enqueueV3", f"no shape for {', '.join(missing)}")
        missing = [name for name in self.engine.graph.tensors if not self._addresses.get(name)]
        if missing:
            return self._refuse("enqueueV3", f"no address for {', '.join(missing)}")
        if self._scratch_bytes < self.engine.plan.scratch_bytes:
            reason = f"{self._scratch_bytes} bytes of device memory are too few"
            return self._refuse("enqueueV3", reason)
        code = self._execution.enqueue(stream_handle, self._input_shapes(), self._addresses)
        return not code or self._refuse("enqueueV3", f"the driver answers {code}")

    def _inputs(self):
        return [name for name, tensor in self.engine.graph.tensors.items() if tensor.is_input]

    def _input_shapes(self):
        return {name: self.get_tensor_shape(name) for name in self._inputs()}

    def _refuse(self, function, reason):
        message = f"IExecutionContext::{function}: Error: {reason}"
        self.engine.logger.log(ILogger.ERROR, message)
        return False


def install(name: str = "tensorrt") -> None:
    """Let `import tensorrt` (or `tensorrt_rtx`) find this module in this process."""
    sys.modules[name] = sys.modules[__name__]
