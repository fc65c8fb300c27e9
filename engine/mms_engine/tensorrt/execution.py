"""Execution of a plan: a context for each shape, its CUDA graph, and the scratch memory of all."""

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

_LANES = 12
"""Most execution contexts of a plan."""

Shapes = Mapping[str, Shape]
Arrays = Mapping[str, DeviceArray]


class Scratch:
    """Scratch memory of all runs on one CUDA stream, which follow each other.

    Used inside `CudaDevice.active`, by one thread at a time.
    """

    def __init__(self, stream: CudaStream) -> None:
        self.stream = stream
        self.moves = 0
        """Number of times that the memory moved; a graph holds its former address."""
        self._memory = Buffer(stream.device)

    @property
    def nbytes(self) -> int:
        """Current size in bytes."""
        return self._memory.nbytes

    def take(self, size: int) -> DeviceArray:
        """Return at least `size` bytes.

        Raises:
            pycuda.driver.MemoryError: `CudaDevice.active` turns it into DeviceMemoryError.
        """
        if size > self._memory.nbytes:
            self.moves += 1
            self._memory.take((size,), np.uint8)
        return self._memory.take((self._memory.nbytes,), np.uint8)

    def free(self) -> None:
        """Free the memory after all work of the device."""
        self.moves += 1
        self._memory.free()


class Lane:
    """Execution context of one profile and one set of shapes, with its CUDA graph.

    Nothing of a context may change while a graph that was captured from it lives: its shapes and
    addresses change only after the graph was freed.
    """

    def __init__(self, plan: LoadedPlan, scratch: Scratch) -> None:
        """Create a context.

        Raises:
            BackendError: TensorRT reports an error.
        """
        self._plan = plan
        self._scratch = scratch
        self._context = plan.create_context()
        self._profile = -1
        self._size = 0
        self._bound: tuple[int, ...] = ()
        """Addresses of the last run, and the moves of the scratch memory before it."""
        self._graph: CudaGraph | None = None
        self._captures = False
        self._fresh = True

    def shape(self, profile: int, shapes: Shapes) -> None:
        """Give it the profile and the shapes of all inputs."""
        self._forget_graph()
        self._bound, self._captures, self._fresh = (), self._plan.captures, True
        stream = self._scratch.stream.handle
        if profile != self._profile:
            if not self._context.set_optimization_profile_async(profile, stream):
                raise self._plan.failure(f"take profile {profile}")
            self._profile = profile
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._plan.failure(f"take the shape {list(shape)} for {name}")
        self._size = int(self._context.update_device_memory_size_for_shapes())
        if not self._size:
            raise self._plan.failure("compute the scratch memory of its shapes")

    def output_shape(self, name: str) -> Shape:
        """Return the shape of an output."""
        return tuple(self._context.get_tensor_shape(name))

    def enqueue(self, arrays: Arrays) -> None:
        """Enqueue a run on all inputs and outputs.

        The first run on given addresses is enqueued kernel by kernel, the second is captured as a
        CUDA graph, later ones launch that graph.
        """
        scratch = self._scratch.take(self._size)
        bound = (self._scratch.moves, *(array.address for array in arrays.values()))
        if bound != self._bound:
            self._forget_graph()
            self._bind(arrays, scratch)
        elif self._graph is None and self._captures:
            self._graph = self._capture()
        if self._graph is not None:
            self._graph.launch(self._scratch.stream)
            return
        self._execute()
        self._bound = bound
        if self._fresh and self._plan.kernels is not None:
            self._plan.kernels.save()  # a process may end without closing anything
        self._fresh = False

    def free(self) -> None:
        """Free the graph and the context."""
        self._forget_graph()
        self._context = None

    def _bind(self, arrays: Arrays, scratch: DeviceArray) -> None:
        self._bound = ()
        self._context.set_device_memory(scratch.address, scratch.nbytes)
        for name, array in arrays.items():
            if not self._context.set_tensor_address(name, array.address):
                raise self._plan.failure(f"take an address for {name}")

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._scratch.stream.handle):
            raise self._plan.failure("run")

    def _capture(self) -> CudaGraph | None:
        stream = self._scratch.stream
        try:
            return CudaGraph.capture(stream, self._execute_captured)
        except (BackendError, stream.device.driver.Error) as error:
            # If the device is lost, the run that follows fails too and raises.
            logger.warning("no CUDA graph of these shapes: %s", str(error))
            self._captures = False
            return None

    def _execute_captured(self) -> None:
        if not self._context.execute_async_v3(self._scratch.stream.handle):
            raise self._plan.refusal("run in a capture")  # where nothing may wait

    def _forget_graph(self) -> None:
        if self._graph is not None:
            self._scratch.stream.synchronize()
            self._graph.free()
            self._graph = None


class Lanes:
    """Lanes of a plan by profile and shapes; the least recently used one takes a further shape.

    Used inside `CudaDevice.active`, by one thread at a time.
    """

    def __init__(self, plan: LoadedPlan, scratch: Scratch) -> None:
        self.plan = plan
        self._scratch = scratch
        self._lanes: OrderedDict[tuple[int, tuple[Shape, ...]], Lane] = OrderedDict()

    def take(self, profile: int, shapes: Shapes) -> Lane:
        """Return the lane of a profile and the shapes of all inputs.

        Raises:
            BackendError: TensorRT rejects them.
        """
        key = profile, tuple(shapes.values())
        lane = self._lanes.pop(key, None)
        if lane is None:
            lane = self._idle()
            try:
                lane.shape(profile, shapes)
            except BaseException:
                lane.free()
                raise
        self._lanes[key] = lane
        return lane

    def free(self) -> None:
        """Free all contexts and graphs."""
        while self._lanes:
            self._lanes.popitem()[1].free()

    def _idle(self) -> Lane:
        if len(self._lanes) < _LANES:
            return Lane(self.plan, self._scratch)
        return self._lanes.popitem(last=False)[1]
