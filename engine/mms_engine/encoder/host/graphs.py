"""Sessions of a bundle's graphs on the host: one per graph and thread count, opened on demand."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mms_engine.backends.hidden_states import hidden_state_graph
from mms_engine.backends.registry import Choice, open_graph
from mms_engine.backends.session import Array, Constant, GraphFile, Session
from mms_engine.bank.adapters import AdapterBank
from mms_engine.bank.host import HostBank
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.bundle.reader import Bundle
from mms_engine.encoder.emission import HostEmission
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import BackendError
from mms_engine.types import Float32Array, Precision


@dataclass(frozen=True, slots=True)
class HiddenState:
    """Choice of a hidden state."""

    layer: int | None
    """Number, as of `hidden_state_graph`; `None` for the last, behind the final layer norm."""


class HostGraphs:
    """Sessions and frame geometry that the encoder and its streaming steps share."""

    def __init__(
        self,
        bundle: Bundle,
        precision: Precision,
        choice: Choice,
        threads: int,
        hidden: HiddenState | None = None,
    ) -> None:
        """Open no graph yet.

        Args:
            bundle: Bundle of the graphs.
            precision: Precision of the graphs.
            choice: Backend that runs them.
            threads: Threads of a run on a CPU unless another number is given; 0 for every core.
            hidden: Hidden state that the graph `encoder` returns instead of its own output.
        """
        self.architecture = bundle.model(Wav2Vec2)
        self.geometry = FrameGeometry.of(self.architecture)
        self.device = choice.device
        self.variant = f"{choice.backend} {precision} {choice.device}"
        """Backend, precision and device."""
        self._bundle = bundle
        self._precision = precision
        self._choice = choice
        self._threads = threads
        self._hidden = hidden
        self._sessions: dict[tuple[str, int], Session] = {}
        self._lock = threading.Lock()
        self._closed = False

    def session(self, name: str, threads: int | None = None) -> Session:
        """Return the session of a graph, opened on first use.

        Args:
            name: Name of the graph.
            threads: Threads of one run on a CPU; `None` for those of the recogniser.

        Raises:
            BundleError: the bundle has no such graph, or it is damaged.
            BackendError: the backend rejects it, or the model is closed.
        """
        key = (name, self._threads if threads is None else threads)
        session = self._sessions.get(key)
        if session is not None:  # without the lock: another graph may be loading
            return session
        with self._lock:
            if self._closed:
                raise BackendError("the model is closed")
            if key not in self._sessions:
                edit = self._hidden_state if name == "encoder" and self._hidden else None
                self._sessions[key] = open_graph(
                    self._choice, self._bundle, name, self._precision, key[1], edit
                )
            return self._sessions[key]

    def _hidden_state(self, file: GraphFile) -> GraphFile:
        sizes = self.architecture
        layer = self._hidden.layer if self._hidden else None
        return hidden_state_graph(file, layer, sizes.num_hidden_layers, sizes.hidden_size)

    def close(self) -> None:
        """Free all sessions."""
        with self._lock:
            self._closed = True
            for session in self._sessions.values():
                session.close()


def run_encoder(
    encoder: Session,
    bank: AdapterBank[HostBank] | None,
    features: Sequence[Float32Array],
    languages: Sequence[str],
) -> HostEmission:
    """Run the graph `encoder` on rows of features `[T, F]` as one batch, zero-padded.

    Without a bank the graph takes features and lengths only; scores `[B, C]` of a graph that pools
    over time become emissions of one frame. Hidden states `[B, T, H]` take the place of logits.

    Raises:
        BackendError: the device failed, or the bank has no room for the languages.
    """
    lengths = np.array([len(rows) for rows in features], np.int64)
    padded = np.zeros((len(features), max(lengths), features[0].shape[1]), np.float32)
    for row, values in zip(padded, features, strict=True):
        row[: len(values)] = values
    feeds: dict[str, Array | Constant] = {"features": padded, "lengths": lengths}
    if bank is None:
        scores = encoder.run(feeds)[encoder.outputs[0].name]
        logits = scores if scores.ndim == 3 else scores[:, np.newaxis]
        frames = lengths if scores.ndim == 3 else np.ones_like(lengths)
        vocabs = (logits.shape[2],) * len(features)
        return HostEmission(logits, tuple(map(int, frames)), vocabs)
    with bank.acquire(languages) as residents:
        held = [residents[language] for language in languages]
        feeds.update(bank.storage.inputs(held))
        output = encoder.outputs[0]
        logits = encoder.run(feeds)[output.name]
    vocabs = tuple(len(resident.info) for resident in held)
    if output.name != "logits":  # hidden states
        vocabs = (logits.shape[2],) * len(held)
    return HostEmission(logits, tuple(map(int, lengths)), vocabs)
