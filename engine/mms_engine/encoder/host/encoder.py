"""Encoder on graphs whose inputs and outputs are host arrays."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from mms_engine.bank.adapters import AdapterBank
from mms_engine.bank.host import HostBank
from mms_engine.encoder.emission import HostEmission, Segment
from mms_engine.encoder.host.graphs import HostGraphs, run_encoder
from mms_engine.encoder.host.steps import HostSteps
from mms_engine.encoder.interface import StepEncoder
from mms_engine.types import Float32Array

# Frames of one frontend run, limited by cache and memory. CPU time of a frame at 1B: 0.97 ms in
# runs of 50, 1.0 at 125, 1.2 at 250, 1.3 at 1,000.
_FRONTEND_FRAMES = 100


class HostEncoder:
    """Frontend and encoder graphs with an adapter bank; see `Encoder`."""

    gpu = None

    def __init__(self, graphs: HostGraphs, bank: AdapterBank[HostBank] | None) -> None:
        """Take over graphs and bank; `None` for a model without adapters."""
        self.bank = bank
        self.variant = graphs.variant
        self.device = graphs.device
        self._graphs = graphs
        self._frontend = graphs.session("frontend")
        self._encoder = graphs.session("encoder")

    def rows_within(self, frames: int) -> None:
        """Return `None`: any number of rows runs."""
        del frames

    def parts(self, rows: int, frames: int) -> list[int]:
        """Return one run of all rows."""
        del frames
        return [rows]

    def steps(self, threads: int | None) -> StepEncoder:
        """Return the encoder of streaming steps; see `Encoder.steps`."""
        return HostSteps(self._graphs, self.bank, threads)

    @contextlib.contextmanager
    def emission(self, segments: Sequence[Segment]) -> Iterator[HostEmission]:
        """Run segments as one batch; see `Encoder.emission`."""
        # Rows of one audio in several languages share their samples, and so their features.
        distinct = {id(segment.samples): segment.samples for segment in segments}
        by_samples = {key: self._features(samples) for key, samples in distinct.items()}
        features = [by_samples[id(segment.samples)] for segment in segments]
        languages = [segment.language for segment in segments]
        yield run_encoder(self._encoder, self.bank, features, languages)

    def features(self, audio: Float32Array) -> Float32Array:
        """Run the frontend once on normalised samples `[B, N]`; return `[B, T, F]`."""
        features: Float32Array = self._frontend.run({"audio": audio})["features"]
        return features

    def _features(self, samples: Float32Array) -> Float32Array:
        """Return the features `[T, F]` of one segment, in pieces: the frontend is frame-local."""
        geometry = self._graphs.geometry
        frames = geometry.frames(len(samples))
        pieces = []
        for start in range(0, frames, _FRONTEND_FRAMES):
            end = min(frames, start + _FRONTEND_FRAMES)
            audio = samples[np.newaxis, geometry.span(start, end)]
            pieces.append(self.features(audio)[0])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        """Free the graphs."""
        self._graphs.close()
