"""What runs a bundle's frontend and encoder: the interface, and graphs on arrays of the host."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mms_engine.backends import Session
from mms_engine.backends.session import Array, Constant
from mms_engine.bank.bank import AdapterBank
from mms_engine.bank.host import HostRows
from mms_engine.bundle.schema import Architecture, Stage
from mms_engine.decoders import Decoders, HostDecoders
from mms_engine.emission import Emission, HostEmission, Segment
from mms_engine.frames import FrameGeometry
from mms_engine.options import RecognizerOptions
from mms_engine.types import Float32Array

if TYPE_CHECKING:
    from mms_engine.streaming.runner import StreamRunner

# The frontend runs on this many frames at a time: in cache, and in bounded memory. Measured at 1B,
# CPU time of a frame: 0.97 ms at 50, 1.0 at 125, 1.2 at 250, 1.3 at 1,000.
_FRONTEND_FRAMES = 100

OpenGraph = Callable[[Stage, int | None], Session]
"""Loads a graph whose runs take so many threads; `None` for those of the recogniser."""


class Encoder(Protocol):
    """A bundle's frontend and encoder on one backend. May be used from several threads."""

    bank: AdapterBank[Any]

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        ...

    def emission(self, segments: Sequence[Segment]) -> AbstractContextManager[Emission]:
        """Run segments as one batch; their logits are valid inside the context.

        Raises:
            BackendError: the device failed.
        """
        ...

    def rows_within(self, frames: int) -> int | None:
        """Return how many rows of so many frames one run takes; `None` for any number."""
        ...

    def decoders(self, options: RecognizerOptions, host: HostDecoders) -> Decoders:
        """Return what decodes its emissions: `host`, or others that do the same."""
        ...

    def streams(self, architecture: Architecture, threads: int | None) -> "StreamRunner":
        """Return what runs steps of streams; on a CPU a run takes so many threads."""
        ...

    def close(self) -> None:
        """Free graphs and memory."""
        ...


class HostEncoder:
    """Two graphs that take and give arrays of the host, wherever they run."""

    def __init__(
        self,
        frontend: Session,
        encoder: Session,
        bank: AdapterBank[HostRows],
        geometry: FrameGeometry,
        open_graph: OpenGraph,
    ) -> None:
        """Take over both sessions; `open_graph` loads what only streams need."""
        self.bank = bank
        self._geometry = geometry
        self._frontend = frontend
        self._encoder = encoder
        self._open_graph = open_graph
        self._opened: dict[tuple[Stage, int | None], Session] = {
            ("frontend", None): frontend,
            ("encoder", None): encoder,
        }
        self._opening = threading.Lock()

    def graph(self, stage: Stage, threads: int | None = None) -> Session:
        """Return a graph, loaded when it is first asked for.

        Args:
            stage: Which.
            threads: Of one run on a CPU; `None` for those of the recogniser.

        Raises:
            BundleError: the bundle has none, or it is damaged.
        """
        with self._opening:
            if (stage, threads) not in self._opened:
                self._opened[stage, threads] = self._open_graph(stage, threads)
            return self._opened[stage, threads]

    @property
    def device(self) -> str:
        """Where the encoder runs."""
        return self._encoder.device

    def rows_within(self, frames: int) -> None:
        """Return `None`: any number of rows runs."""
        del frames

    def decoders(self, options: RecognizerOptions, host: HostDecoders) -> Decoders:
        """Return `host`."""
        del options
        return host

    def streams(self, architecture: Architecture, threads: int | None) -> "StreamRunner":
        """Return what runs steps of streams; see `Encoder.streams`."""
        from mms_engine.streaming.runner import HostRunner  # which imports this module

        return HostRunner(self, architecture, threads)

    @contextlib.contextmanager
    def emission(self, segments: Sequence[Segment]) -> Iterator[HostEmission]:
        """Run segments as one batch; see `Encoder.emission`."""
        features = [self._features(segment.samples) for segment in segments]
        yield self.encode(features, [segment.language for segment in segments])

    def features(self, audio: Float32Array) -> Float32Array:
        """Run the frontend once on normalised samples `[B, N]`; return `[B, T, F]`."""
        features: Float32Array = self._frontend.run({"audio": audio})["features"]
        return features

    def encode(self, features: Sequence[Float32Array], languages: Sequence[str]) -> HostEmission:
        """Run the encoder on rows of features `[T, F]` as one batch.

        Raises:
            BackendError: the device failed.
        """
        lengths = np.array([len(rows) for rows in features], np.int64)
        padded = np.zeros((len(features), max(lengths), features[0].shape[1]), np.float32)
        for row, values in zip(padded, features, strict=True):
            row[: len(values)] = values
        with self.bank.acquire(languages) as residents:
            held = [residents[language] for language in languages]
            slots = np.array([resident.slot for resident in held], np.int64)
            feeds: dict[str, Array | Constant] = {**self.bank.rows.constants()}
            feeds.update(features=padded, lengths=lengths, slot=slots)
            logits = self._encoder.run(feeds)["logits"]
        vocabs = tuple(len(resident.vocabulary) for resident in held)
        return HostEmission(logits, tuple(map(int, lengths)), vocabs)

    def _features(self, samples: Float32Array) -> Float32Array:
        """Return `[T, F]` of one utterance, piece by piece: the frontend is frame-local."""
        frames = self._geometry.frames(len(samples))
        pieces = []
        for start in range(0, frames, _FRONTEND_FRAMES):
            end = min(frames, start + _FRONTEND_FRAMES)
            audio = samples[np.newaxis, self._geometry.span(start, end)]
            pieces.append(self.features(audio)[0])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        """Free the graphs."""
        for session in self._opened.values():
            session.close()
