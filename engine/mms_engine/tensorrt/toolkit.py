"""Installed TensorRT runtime, and the plans it loads."""

import collections
import functools
import importlib
import logging
import mmap
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mms_engine.backends.probes import MODULES, PLAN_DTYPES
from mms_engine.bundle.manifest import Plan, Runtime, Tensor
from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.driver import cuda_driver
from mms_engine.errors import BackendError
from mms_engine.tensorrt.compiled import CompiledKernels, compiled_path

logger = logging.getLogger(__name__)

_KEPT_ERRORS = 8
_OUT_OF_MEMORY = re.compile(
    "out of memory|OutOfMemory|Requested amount of GPU memory|cudaErrorMemoryAllocation", re.I
)
"""Messages of TensorRT that mean a lack of device memory; others speak of memory too."""


class Toolkit:
    """Imported TensorRT runtime; one instance of each per process."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401
        self.module = module
        self._log = make_log(module)
        self._runtime = module.Runtime(self._log)

    @property
    def version(self) -> str:
        """Release of the runtime."""
        return str(self.module.__version__)

    def take_message(self) -> str:
        """Return and clear the last error that the runtime logged."""
        text = str(self._log.errors.pop()) if self._log.errors else "no reason was logged"
        self._log.errors.clear()
        return text

    @property
    def compiles(self) -> bool:
        """Whether the runtime compiles kernels on the GPU, and captures CUDA graphs itself."""
        return hasattr(self.module, "CudaGraphStrategy")

    def load(
        self, path: Path, plan: Plan, device: CudaDevice, *, graphs: bool, few_shapes: bool
    ) -> "LoadedPlan":
        """Load a plan onto the device; call it inside `CudaDevice.active`.

        Args:
            path: File of the plan.
            plan: Its entry in the manifest.
            device: GPU of the runs.
            graphs: See `open_plan`.
            few_shapes: See `open_plan`.

        Raises:
            BackendError: it is not a plan for this runtime and device, or differs from its entry in
                the manifest.
            DeviceMemoryError: its weights do not fit; raised by `CudaDevice.active`.
        """
        device.driver.mem_get_info()  # a lost device fails here, not as a bad plan
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            engine = self._runtime.deserialize_cuda_engine(memoryview(data))
        if device.integrated:  # the file in the page cache takes memory that the GPU shares
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        loaded = LoadedPlan(self, engine, path, device, captures=graphs and not self.compiles)
        if engine is None:
            raise loaded.failure("read the plan")
        loaded.check(plan)
        if not self.compiles:
            return loaded
        config = self._runtime_config(engine, graphs=graphs, few_shapes=few_shapes)
        machine = (device.name, device.compute_capability, cuda_driver().version, self.version)
        kernels = CompiledKernels(config, compiled_path(plan.file.sha256, *machine))
        return replace(loaded, config=config, kernels=kernels)

    def _runtime_config(self, engine: Any, *, graphs: bool, few_shapes: bool) -> Any:  # noqa: ANN401
        module = self.module
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(_user_managed(module))
        strategy = module.CudaGraphStrategy
        config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE if graphs else strategy.DISABLED
        # Not lazily, beside the runs: a run gives the same bits from the first time on.
        kernels = module.DynamicShapesKernelSpecializationStrategy
        chosen = kernels.EAGER if few_shapes else kernels.NONE
        config.dynamic_shapes_kernel_specialization_strategy = chosen
        return config


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPlan:
    """Deserialised engine with its file and device."""

    toolkit: Toolkit
    engine: Any
    """`ICudaEngine`."""
    path: Path
    device: CudaDevice
    captures: bool
    """Whether runs are captured as CUDA graphs here, and not by the runtime or not at all."""
    config: Any = None
    """`IRuntimeConfig` of TensorRT for RTX."""
    kernels: CompiledKernels | None = None

    def create_context(self) -> Any:  # noqa: ANN401
        """Return a new execution context, whose scratch memory is the caller's.

        Raises:
            BackendError: TensorRT reports an error.
        """
        how = _user_managed(self.toolkit.module) if self.config is None else self.config
        context = self.engine.create_execution_context(how)
        if context is None:
            raise self.failure("make an execution context")
        return context

    def scratch_bytes(self, profile: int) -> int:
        """Return the scratch memory of the largest run of a profile."""
        return int(self.engine.get_device_memory_size_for_profile_v2(profile))

    def failure(self, what: str) -> BackendError:
        """Return the error for a failed call of TensorRT.

        Args:
            what: Failed operation, as in `read the plan`.

        Raises:
            pycuda.driver.Error: out of memory, or the device is lost.
        """
        message = self.toolkit.take_message()
        self.device.driver.Context.synchronize()
        if _OUT_OF_MEMORY.search(message):
            raise self.device.driver.MemoryError(message)
        return self._refusal(what, message)

    def refusal(self, what: str) -> BackendError:
        """Return the error for a failed call, without waiting for the device as `failure` does."""
        return self._refusal(what, self.toolkit.take_message())

    def _refusal(self, what: str, message: str) -> BackendError:
        name = self.toolkit.module.__name__
        return BackendError(
            f"{self.path}: {name} {self.toolkit.version} could not {what}: {message}"
        )

    def check(self, plan: Plan) -> None:
        """Check the engine against its entry in the manifest.

        Raises:
            BackendError: a tensor or a profile differs.
        """
        engine, wrong = self.engine, []
        found = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        tensors = (*plan.inputs, *plan.outputs)
        if found != {tensor.name for tensor in tensors}:
            wrong.append(f"has the tensors {', '.join(sorted(found))}")
        elif engine.num_optimization_profiles != len(plan.profiles):
            wrong.append(f"has {engine.num_optimization_profiles} profiles")
        else:
            wrong += [text for tensor in tensors if (text := self._dtype_problem(tensor))]
            wrong += [text for tensor in plan.inputs for text in self._profiles(plan, tensor)]
        if wrong:
            raise BackendError(
                f"{self.path} differs from its entry in the manifest: it {wrong[0]}; "
                f"build it again with mms-export --engine {plan.runtime}"
            )

    def _dtype_problem(self, tensor: Tensor) -> str:
        kind = self.engine.get_tensor_dtype(tensor.name).name
        found = PLAN_DTYPES.get(kind, kind)
        return "" if found == tensor.dtype else f"takes {tensor.name} as {found}"

    def _profiles(self, plan: Plan, tensor: Tensor) -> list[str]:
        problems = []
        for index, profile in enumerate(plan.profiles):
            ranges = profile.shapes[tensor.name]
            found = [*map(tuple, self.engine.get_tensor_profile_shape(tensor.name, index))]
            if found != [ranges.min, ranges.opt, ranges.max]:
                problems.append(f"has for {tensor.name} in profile {index} the shapes {found}")
        return problems


def _user_managed(module: Any) -> Any:  # noqa: ANN401
    return module.ExecutionContextAllocationStrategy.USER_MANAGED


@functools.cache
def open_toolkit(runtime: Runtime) -> Toolkit:
    """Import a runtime; call it inside `CudaDevice.active`.

    Raises:
        BackendError: it is not installed, or does not work with this driver.
    """
    name = MODULES[runtime]
    try:
        return Toolkit(importlib.import_module(name))
    except (ImportError, OSError, RuntimeError, TypeError) as error:
        # TypeError: raised by pybind11 if the runtime could not be created.
        raise BackendError(f"{name} cannot be used: {error}; run mms doctor") from error


def make_log(module: Any, listen: Callable[[str], None] | None = None) -> Any:  # noqa: ANN401
    """Return a logger of a runtime that forwards to `logging` and keeps its last errors.

    Args:
        module: The runtime.
        listen: Function that is called with every message.
    """
    severity = module.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.INFO,  # becomes an exception
        severity.WARNING: logging.INFO,
    }

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: collections.deque[str] = collections.deque(maxlen=_KEPT_ERRORS)

        def log(self, level: Any, message: str) -> None:  # noqa: ANN401
            if listen is not None:
                listen(message)
            if level in (severity.INTERNAL_ERROR, severity.ERROR):
                self.errors.append(message)
            logger.log(levels.get(level, logging.DEBUG), "%s", message)

    return Log()
