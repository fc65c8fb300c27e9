"""The three graphs of a voice model, made once for all voices."""

from collections.abc import Mapping
from typing import Any, Protocol

from mms_engine.backends.session import Array
from mms_engine.bundle.manifest import Tensor
from mms_engine.cuda.context import CudaDevice
from mms_engine.errors import BundleCorrupt
from mms_engine.types import Precision

ACTIVATIONS = {
    "text": ("ids", "lengths", "duration_noise"),
    "flow": ("latents", "lengths"),
    "decoder": ("features", "valid"),
}
"""Inputs of each graph that are not weights."""


class VitsSession(Protocol):
    """Loaded graph of any backend, or plan; see `backends.session.Session`."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs of `run`."""
        ...

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Run the graph once; weights are as `VoiceStorage.arrays` returns them."""
        ...

    def close(self) -> None:
        """Free the graph."""
        ...


class VitsGraphs:
    """Graphs `text`, `flow` and `decoder`. `run` may be called from several threads at once."""

    def __init__(
        self,
        sessions: Mapping[str, VitsSession],
        precision: Precision,
        variant: str,
        *,
        device: str,
        gpu: CudaDevice | None = None,
        most_frames: int | None = None,
    ) -> None:
        """Take over sessions; see `load_graphs`.

        Args:
            sessions: Session of each graph by its name.
            precision: Precision of the graphs.
            variant: Backend, precision and device.
            device: `cpu` or `cuda`.
            gpu: GPU whose memory holds the weights that `run` takes; `None` for host memory.
            most_frames: Most frames of a run of `flow`; `None` for any number.

        Raises:
            BundleCorrupt: two graphs take a weight in different types.
        """
        self.device = device
        self.gpu = gpu
        self.precision: Precision = precision
        self.variant = variant
        self.most_frames = most_frames
        self._sessions = sessions
        weights: dict[str, Tensor] = {}
        self._weights: dict[str, tuple[str, ...]] = {}
        for name, session in sessions.items():
            own = [tensor for tensor in session.inputs if tensor.name not in ACTIVATIONS[name]]
            self._weights[name] = tuple(tensor.name for tensor in own)
            for tensor in own:
                if weights.setdefault(tensor.name, tensor).dtype != tensor.dtype:
                    raise BundleCorrupt(f"two graphs take {tensor.name} in different types")
        self.weights = tuple(weights.values())
        """Weights that a voice must have."""

    def run(
        self, name: str, activations: Mapping[str, Array], weights: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Run a graph once.

        Args:
            name: Name of the graph.
            activations: Inputs that are not weights.
            weights: All weights of the voice, as its storage returns them.

        Raises:
            BackendError: the device failed, or the graphs are closed.
        """
        feeds = dict(activations)
        feeds.update((weight, weights[weight]) for weight in self._weights[name])
        return self._sessions[name].run(feeds)

    def close(self) -> None:
        """Free the sessions."""
        for session in self._sessions.values():
            session.close()
