"""Execution of one profile of a TensorRT engine, with CUDA graphs for repeated shapes."""

import logging
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from mms_engine.cuda.graphs import CudaGraph
from mms_engine.cuda.memory import Buffer, DeviceArray, Shape
from mms_engine.cuda.streams import CudaStream
from mms_engine.errors import BackendError
from mms_engine.tensorrt.toolkit import LoadedPlan

logger = logging.getLogger(__name__)

_GRAPHS = 32

_Key = tuple[tuple[int, Shape], ...]


class Execution:
    """Execution context of TensorRT with its own scratch memory.

    Graphs captured from it stay valid as long as the scratch memory does not move. Used inside
    `CudaDevice.active`, by one thread at a time, on one CUDA stream.
    """

    def __init__(self, plan: LoadedPlan, profile: int, stream: CudaStream) -> None:
        """Create the context.

        Args:
            plan: Loaded engine.
            profile: Index of an optimisation profile.
            stream: CUDA stream of the runs.

        Raises:
            BackendError: TensorRT reports an error.
        """
        self._plan = plan
        self._stream = stream
        strategy = plan.toolkit.module.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context = plan.engine.create_execution_context(strategy)
        if self._context is None:
            raise plan.failure(f"make an execution context for profile {profile}")
        if not self._context.set_optimization_profile_async(profile, stream.handle):
            raise plan.failure(f"take profile {profile}")
        self._scratch = Buffer(stream.device)
        self._bound: dict[str, tuple[int, Shape]] = {}
        self._graphs: OrderedDict[_Key, CudaGraph | None] = OrderedDict()
        self._use_graphs = True

    def shapes(self, inputs: Mapping[str, Shape], outputs: tuple[str, ...]) -> dict[str, Shape]:
        """Return the shapes of outputs, given those of all inputs."""
        for name, shape in inputs.items():
            self._set_shape(name, shape)
        return {name: tuple(self._context.get_tensor_shape(name)) for name in outputs}

    def enqueue(
        self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        """Enqueue a run.

        The first run with given shapes and addresses is enqueued kernel by kernel, the second is
        captured as a CUDA graph, later ones launch that graph.
        """
        key: _Key = tuple(
            (array.address, array.shape) for array in (*inputs.values(), *outputs.values())
        )
        graph = self._graphs.get(key)
        if graph is None:
            self._bind(inputs, outputs)
            if key in self._graphs and self._use_graphs:
                graph = self._capture()
            self._remember(key, graph)
        if graph is None:
            self._execute()
        else:
            self._graphs.move_to_end(key)
            graph.launch(self._stream)

    def free(self) -> None:
        """Free the graphs and the scratch memory; the stream is idle."""
        self._forget_graphs()
        self._scratch.free()
        self._context = None

    def _bind(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]) -> None:
        for name, array in inputs.items():
            self._set_shape(name, array.shape)
        self._take_scratch()
        for name, array in {**inputs, **outputs}.items():
            if self._bound.get(name, (0, ()))[0] != array.address:
                if not self._context.set_tensor_address(name, array.address):
                    raise self._plan.failure(f"take an address for {name}")
                self._bound[name] = (array.address, array.shape)

    def _set_shape(self, name: str, shape: Shape) -> None:
        address, bound = self._bound.get(name, (0, ()))
        if bound != shape:
            if not self._context.set_input_shape(name, shape):
                raise self._plan.failure(f"take the shape {list(shape)} for {name}")
            self._bound[name] = (address, shape)

    def _take_scratch(self) -> None:
        size = int(self._context.update_device_memory_size_for_shapes())
        before = self._scratch.nbytes
        scratch = self._scratch.take((size,), np.uint8)
        if self._scratch.nbytes != before:
            self._forget_graphs()  # they hold the former address
            self._context.set_device_memory(scratch.address, scratch.nbytes)

    def _capture(self) -> CudaGraph | None:
        try:
            return CudaGraph.capture(self._stream, self._execute)
        except (BackendError, self._stream.device.driver.Error) as error:
            # If the device is lost, the run that follows fails too and raises.
            logger.warning("CUDA graphs are disabled from now on: %s", str(error))
            self._use_graphs = False
            return None

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._plan.failure("run")

    def _remember(self, key: _Key, graph: CudaGraph | None) -> None:
        self._graphs[key] = graph
        if len(self._graphs) > _GRAPHS:
            _, oldest = self._graphs.popitem(last=False)
            if oldest is not None:
                self._stream.synchronize()
                oldest.free()

    def _forget_graphs(self) -> None:
        self._stream.synchronize()
        for graph in self._graphs.values():
            if graph is not None:
                graph.free()
        self._graphs.clear()
