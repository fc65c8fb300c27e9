"""The three graphs of a voice model, made once for all voices."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from mms_engine.backends.session import Array
from mms_engine.bundle.manifest import Tensor
from mms_engine.cuda.context import CudaDevice
from mms_engine.errors import BundleCorrupt, MmsError
from mms_engine.types import Precision

ACTIVATIONS = {
    "text": ("ids", "lengths", "duration_noise"),
    "flow": ("latents", "lengths"),
    "decoder": ("features", "valid"),
}
"""Inputs of each graph that are not weights."""
MOST_LANES = 4
"""Most sessions of a graph on a GPU, each of which runs one voice at a time."""
logger = logging.getLogger(__name__)


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


class _Lanes:
    """Sessions of one graph that run beside each other, each on a CUDA stream of its own.

    A further one is opened when a run finds all others taken, so who speaks alone pays for one.
    """

    def __init__(self, first: VitsSession, open_more: Callable[[], VitsSession] | None) -> None:
        """Take over a session.

        Args:
            first: First session.
            open_more: Opens another; `None` for a session that runs any number at once.
        """
        self.first = first
        self._open_more = open_more
        self._most = MOST_LANES if open_more else 1
        self._sessions = [first]
        self._idle = [first]
        self._opening = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def session(self) -> Iterator[VitsSession]:
        """Yield a session that nobody else runs, or the one that all may run at once."""
        if self._open_more is None:
            yield self.first
            return
        taken = self._take(self._open_more)
        try:
            yield taken
        finally:
            with self._changed:
                self._idle.append(taken)
                self._changed.notify()

    def _take(self, open_more: Callable[[], VitsSession]) -> VitsSession:
        with self._changed:
            while not self._idle and len(self._sessions) + self._opening >= self._most:
                self._changed.wait()
            if self._idle:
                return self._idle.pop()
            self._opening += 1
        made: VitsSession | None = None
        try:
            made = open_more()
        except MmsError as error:  # such as no memory: the sessions that are open go on
            # As text: a record that keeps the error would keep what its frames hold.
            logger.warning("voices take turns on the GPU from now on: %s", str(error))
        with self._changed:
            self._opening -= 1
            if made is None:
                self._most = len(self._sessions) + self._opening
            elif self._most:
                self._sessions.append(made)
                return made
            else:  # closed meanwhile
                made.close()
                return self.first
        return self._take(open_more)

    def close(self) -> None:
        """Free the sessions; later runs fail on the first one."""
        with self._changed:
            self._most = 0
            self._open_more = None
        for session in self._sessions:
            session.close()


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
        open_more: Callable[[str], VitsSession] | None = None,
    ) -> None:
        """Take over sessions; see `load_graphs`.

        Args:
            sessions: Session of each graph by its name.
            precision: Precision of the graphs.
            variant: Backend, precision and device.
            device: `cpu` or `cuda`.
            gpu: GPU whose memory holds the weights that `run` takes; `None` for host memory.
            most_frames: Most frames of a run of `flow`; `None` for any number.
            open_more: Opens a further session of a graph, for runs at once; `None` if one session
                runs any number at once.

        Raises:
            BundleCorrupt: two graphs take a weight in different types.
        """
        self.device = device
        self.gpu = gpu
        self.precision: Precision = precision
        self.variant = variant
        self.most_frames = most_frames
        self._lanes = {
            name: _Lanes(session, open_more and partial(open_more, name))
            for name, session in sessions.items()
        }
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
        with self._lanes[name].session() as session:
            return session.run(feeds)

    def close(self) -> None:
        """Free the sessions."""
        for lanes in self._lanes.values():
            lanes.close()
