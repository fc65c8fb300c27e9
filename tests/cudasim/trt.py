"""Stand-in for the module `tensorrt` on the double of the CUDA driver.

It has the documented names that the engine uses, and returns None or False with a line of the
logger where TensorRT does. A plan (`cudasim.plan`) names an ONNX graph; an execution is an
operation of the simulated stream that runs it with ONNX Runtime on the CPU, on the simulated device
memory at the addresses that were set when it was enqueued. Another module may take its place
(`install`): `torch_runtime.execution` needs neither the double nor ONNX Runtime.
"""

import ctypes
import enum
import importlib
import sys
import types
from collections.abc import Sequence
from math import prod

from cudasim import plan as plans

__version__ = "10.99.0"
_executing: types.ModuleType | None = None
"""Module with `Graph`, `Execution` and `captures`; `None` for `cudasim.execution`."""


def _executor() -> types.ModuleType:
    return _executing or importlib.import_module("cudasim.execution")


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
            raise MemoryError(f"Error Code 2: OutOfMemory (Requested size was {size.value} bytes.)")

    def __del__(self):
        if self.address.value and not _driver().cuCtxPushCurrent_v2(self.context):
            _driver().cuMemFree_v2(self.address)
            _driver().cuCtxPopCurrent_v2(None)


class ICudaEngine:
    """Deserialised plan: tensors and profiles."""

    def __init__(self, plan, logger):
        self.graph = _executor().Graph(plan.graph)
        self.plan = plan
        self.logger = logger
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

    def get_device_memory_size_for_profile_v2(self, profile_index):
        """Return the scratch memory of a profile's largest run, in bytes."""
        return self.scratch({name: high for name, (_, _, high) in self._extents(profile_index)})

    def scratch(self, shapes):
        """Return the scratch memory of a run of these shapes, in bytes."""
        values = prod(next(iter(shapes.values()))) * self.plan.scratch_per_value
        return self.plan.scratch_bytes + values

    def _extents(self, profile_index):
        inputs = [name for name, tensor in self.graph.tensors.items() if tensor.is_input]
        return [(name, self.get_tensor_profile_shape(name, profile_index)) for name in inputs]

    def create_runtime_config(self):
        return IRuntimeConfig()

    def create_execution_context(self, how=ExecutionContextAllocationStrategy.STATIC):
        """Return a context with the first profile; None without memory."""
        strategy = how.strategy if isinstance(how, IRuntimeConfig) else how
        own = strategy is ExecutionContextAllocationStrategy.STATIC
        profiles = range(self.num_optimization_profiles)
        size = max(map(self.get_device_memory_size_for_profile_v2, profiles))
        try:
            return IExecutionContext(self, _DeviceBytes(size) if own else None, size)
        except MemoryError as error:
            self.logger.log(ILogger.ERROR, f"ICudaEngine::createExecutionContext: {error}")
            return None


class IExecutionContext:
    """Execution of an engine with one profile and one set of shapes and addresses."""

    def __init__(self, engine, scratch, size):
        self.engine = engine
        self._scratch = scratch
        self._scratch_bytes = size if scratch else 0
        address = scratch.address.value if scratch else 0
        self._execution = _executor().Execution(engine.graph, address, engine.plan.gathered)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._ran = -1  # the changes of the shapes before the last run
        self.active_optimization_profile = 0

    def set_optimization_profile_async(self, profile_index, stream_handle):
        """Select a profile, which several contexts may use at once since TensorRT 10."""
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._refuse("setOptimizationProfileAsync", f"no profile {profile_index}")
        self.active_optimization_profile = profile_index
        self._shapes = {}
        self._execution.changes += 1
        return True

    def set_input_shape(self, name, shape: Sequence[int]):
        shape = tuple(int(size) for size in shape)
        tensor = self.engine.graph.tensors.get(name)
        if tensor is None or not tensor.is_input:
            return self._refuse("setInputShape", f"there is no input {name}")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=False))
        if len(shape) != len(low) or not fits:
            return self._refuse(
                "setInputShape",
                f"{name} {shape} is not in profile {self.active_optimization_profile}, "
                f"which goes from {low} to {high}",
            )
        if self._shapes.get(name) != shape:
            self._execution.changes += 1
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
        """Return the scratch memory of a run with the current shapes, in bytes; 0 without them.

        Only the preview feature lets it shrink below that of the profile's maxima.
        """
        if self.infer_shapes():
            return 0
        if self.engine.plan.resizes:
            return self.engine.scratch(self._input_shapes())
        profile = self.active_optimization_profile
        return self.engine.get_device_memory_size_for_profile_v2(profile)

    def set_device_memory(self, memory, size):
        """Use the caller's memory as the scratch memory of runs."""
        if memory % 256:
            self._refuse("setDeviceMemoryV2", f"{memory:#x} is not 256-byte aligned")
            return
        self._execution.scratch = memory
        self._scratch_bytes = size

    def is_stream_capturable(self, stream_handle):
        """Return whether a run may be captured: whether none of its memory is the runtime's."""
        return not self.engine.plan.allocates

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
        needed = self.update_device_memory_size_for_shapes()
        if self.engine.plan.allocates:
            try:
                _DeviceBytes(max(1, needed - self._scratch_bytes))
            except MemoryError as error:
                return self._refuse("enqueueV3", f"allocation within the run failed: {error}")
        elif self._scratch_bytes < needed:
            reason = f"{self._scratch_bytes} bytes of device memory are too few"
            return self._refuse("enqueueV3", reason)
        if not _executor().captures(stream_handle):
            self._ran = self._execution.changes
        elif self._ran != self._execution.changes:
            reason = "a change of shapes has to be run once before it is captured"
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


class IRuntimeCache:
    """Compiled kernels of an engine of TensorRT for RTX: one word for each release that ran."""

    def __init__(self):
        self.content = b""

    def deserialize(self, blob):
        """Take a serialised cache, unless it is of another release."""
        known = bytes(blob) == __version__.encode()
        self.content = bytes(blob) if known else b""
        return known

    def serialize(self):
        return memoryview(__version__.encode())


class IRuntimeConfig:
    """Configuration of an engine of TensorRT for RTX."""

    strategy = ExecutionContextAllocationStrategy.STATIC
    cuda_graph_strategy = None
    dynamic_shapes_kernel_specialization_strategy = None
    cache = None

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return IRuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class CudaGraphStrategy(enum.Enum):
    """CUDA graphs that TensorRT for RTX captures itself."""

    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    """When TensorRT for RTX compiles kernels for a shape."""

    LAZY = 0
    EAGER = 1
    NONE = 2


_RTX_ONLY = ("CudaGraphStrategy", "DynamicShapesKernelSpecializationStrategy")


def install(name: str = "tensorrt", *, executing: types.ModuleType | None = None) -> None:
    """Let `import tensorrt` (or `tensorrt_rtx`) find this module in this process.

    Args:
        name: Module to stand in for.
        executing: Module that runs the graphs.
    """
    global _executing
    _executing = executing
    found = types.ModuleType(name)
    vars(found).update(globals(), __name__=name)
    if name == "tensorrt":
        for only in _RTX_ONLY:
            delattr(found, only)
    sys.modules[name] = found
