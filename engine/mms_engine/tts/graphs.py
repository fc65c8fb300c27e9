"""Sessions of a voice model's three graphs, made once for all voices."""

import logging
from collections.abc import Mapping

from mms_engine.backends.options import RunOptions
from mms_engine.backends.registry import BACKENDS, Choice, available, open_graph, rank
from mms_engine.backends.session import Array, Session
from mms_engine.bundle.manifest import Tensor, Vits
from mms_engine.bundle.reader import Bundle
from mms_engine.encoder.loading import choose_precision
from mms_engine.errors import BackendError, BundleCorrupt
from mms_engine.system import usable_cores
from mms_engine.tts.chunks import RUN_THREADS
from mms_engine.types import Precision

logger = logging.getLogger(__name__)

_ACTIVATIONS = {
    "text": ("ids", "lengths", "duration_noise"),
    "flow": ("latents", "lengths"),
    "decoder": ("features", "valid"),
}
"""Inputs of each graph that are not weights."""


class VitsGraphs:
    """Graphs `text`, `flow` and `decoder`. `run` may be called from several threads at once."""

    def __init__(self, bundle: Bundle, precision: Precision, choice: Choice, threads: int) -> None:
        """Open the graphs.

        Args:
            bundle: Bundle of the graphs.
            precision: Precision of the graphs.
            choice: Backend that runs them.
            threads: Threads of a run on a CPU.

        Raises:
            BundleError: a graph is missing or damaged.
            BackendError: the backend rejects one.
        """
        self.device = choice.device
        self.precision: Precision = precision
        self.variant = f"{choice.backend} {precision} {choice.device}"
        """Backend, precision and device."""
        self._sessions: dict[str, Session] = {}
        try:
            for name in _ACTIVATIONS:
                self._sessions[name] = open_graph(choice, bundle, name, precision, threads)
        except BaseException:
            self.close()
            raise
        weights: dict[str, Tensor] = {}
        for name, session in self._sessions.items():
            for tensor in session.inputs:
                if tensor.name in _ACTIVATIONS[name]:
                    continue
                if weights.setdefault(tensor.name, tensor).dtype != tensor.dtype:
                    raise BundleCorrupt(
                        f"{bundle.path}: two graphs take {tensor.name} in different types"
                    )
        self.weights = tuple(weights.values())
        """Weights that a voice must have."""
        self._weights = {
            name: tuple(t.name for t in one.inputs if t.name not in _ACTIVATIONS[name])
            for name, one in self._sessions.items()
        }

    def run(
        self, name: str, activations: Mapping[str, Array], weights: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Run a graph once.

        Args:
            name: Name of the graph.
            activations: Inputs that are not weights.
            weights: All weights of the voice.

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


def load_graphs(bundle: Bundle, options: RunOptions) -> VitsGraphs:
    """Choose a backend and a precision, and open the graphs.

    Raises:
        BundleError: the bundle is of another task, lacks the precision, or is damaged.
        BackendError: no backend here can run it.
    """
    bundle.model(Vits)
    threads = min(options.threads or usable_cores(), RUN_THREADS)
    choices = [
        choice
        for choice in rank(options.device, available(), options.backend)
        if BACKENDS[choice.backend].runtime is None
    ]
    if not choices:
        raise BackendError(
            f"{options.backend or options.device} runs plans, which speech does not use yet: "
            "choose the backend ort-cuda or ort-cpu"
        )
    for number, choice in enumerate(choices):
        try:
            precision = choose_precision(bundle, options.precision, choice.device)
            return VitsGraphs(bundle, precision, choice, threads)
        except BackendError as error:
            if number + 1 == len(choices):
                raise BackendError(f"{error} (chosen: {choice.reason})") from error
            logger.warning("%s was tried first and cannot run: %s", choice.backend, error)
    raise AssertionError("there is at least one choice")
