"""Plans of a bundle on one CUDA stream, loaded on demand."""

import threading

from mms_engine.bundle.manifest import Plan, Wav2Vec2
from mms_engine.bundle.reader import Bundle
from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.streams import CudaStream
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import BackendError
from mms_engine.tensorrt.choose import Target, choose_plan, planned_graphs
from mms_engine.tensorrt.execution import Scratch
from mms_engine.tensorrt.session import PlanFile, TensorRtSession, open_plan
from mms_engine.types import Precision

_UNREPEATED = ("frontend",)
"""Graphs whose runs read and write other addresses each time."""


class DevicePlans:
    """Plans, CUDA stream and frame geometry that the encoder and its streaming steps share."""

    def __init__(
        self, bundle: Bundle, precision: Precision, target: Target, device: CudaDevice
    ) -> None:
        """Load no plan yet.

        Args:
            bundle: Bundle of the plans.
            precision: Precision of the plans.
            target: Runtime and GPU that they have to fit.
            device: The GPU.
        """
        self.architecture = bundle.model(Wav2Vec2)
        self.geometry = FrameGeometry.of(self.architecture)
        self.encoder = planned_graphs(bundle.manifest.model)[1]
        """Name of the graph that gives logits, or scores."""
        self.variant = f"{target.runtime} {precision} {device.name}"
        """Runtime, precision and GPU."""
        with device.active("preparing to run"):
            self.stream = CudaStream(device)
        self.scratch = Scratch(self.stream)
        """Scratch memory of the runs of all plans."""
        self._bundle = bundle
        self._precision = precision
        self._target = target
        self._sessions: dict[str, TensorRtSession] = {}
        self._lock = threading.Lock()
        self._closed = False

    def session(self, name: str) -> TensorRtSession:
        """Return the plan of a graph, loaded on first use without locking the CUDA stream.

        Raises:
            BackendError: the bundle has none that runs here, or the model is closed.
            BundleError: its file is damaged.
        """
        with self._lock:
            if self._closed:
                raise BackendError("the model is closed")
            if name not in self._sessions:
                plan = self.plan(name)
                file = PlanFile(plan, self._bundle.plan_path(plan))
                self._sessions[name] = open_plan(file, self.scratch, graphs=name not in _UNREPEATED)
            return self._sessions[name]

    def plan(self, name: str) -> Plan:
        """Return the manifest entry of the plan of a graph.

        Raises:
            BackendError: the bundle has none that runs here.
        """
        return choose_plan(self._bundle.manifest, name, self._precision, self._target)

    def close(self) -> None:
        """Free the plans and the CUDA stream."""
        with self._lock, self.stream.device.active("closing"):
            self._closed = True
            for session in self._sessions.values():
                session.close()
            self.scratch.free()
            self.stream.free()
