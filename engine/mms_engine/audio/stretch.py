"""Time stretching by FFmpeg's filter `atempo`: a shorter duration at the same pitch."""

from typing import Any

import numpy as np

from mms_engine.types import Float32Array

_SLOWEST, _FASTEST = 1.0, 100.0
"""Factors of one filter."""


class TimeStretch:
    """Stretcher of mono audio that arrives in blocks. Blocks of any size give the same samples."""

    def __init__(self, tempo: float, sample_rate: int) -> None:
        """Open the filter.

        Args:
            tempo: Factor by which the audio gets shorter, 1 to 100.
            sample_rate: Samples per second.
        """
        import av

        if not _SLOWEST <= tempo <= _FASTEST:
            raise ValueError(f"tempo is {tempo}, must be {_SLOWEST:g} to {_FASTEST:g}")
        self._rate = sample_rate
        self._tempo = tempo
        self._read = 0
        self._written = 0
        self._graph = av.filter.Graph()
        source: Any = self._graph.add_abuffer(
            sample_rate=sample_rate, format="flt", layout="mono", time_base=None
        )
        tempo_filter = self._graph.add("atempo", f"tempo={tempo:.9f}")
        sink = self._graph.add("abuffersink")
        source.link_to(tempo_filter)
        tempo_filter.link_to(sink)
        self._graph.configure()

    def push(self, samples: Float32Array) -> Float32Array:
        """Return the samples that are ready after a block `[N]`."""
        import av

        if not samples.size:
            return samples
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._read
        self._read += samples.size
        self._graph.push(frame)
        return self._pull()

    def finish(self) -> Float32Array:
        """Return the rest, so that all samples are those read divided by the tempo, rounded."""
        self._graph.push(None)
        wanted = round(self._read / self._tempo) - self._written
        rest = self._pull()[:wanted]
        return np.pad(rest, (0, max(0, wanted - rest.size)))

    def _pull(self) -> Float32Array:
        import av

        blocks = [np.empty(0, np.float32)]
        while True:
            try:
                frame: Any = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            blocks.append(frame.to_ndarray().reshape(-1))
        joined = np.concatenate(blocks).astype(np.float32, copy=False)
        self._written += joined.size
        return joined
