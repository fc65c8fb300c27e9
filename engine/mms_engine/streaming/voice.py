"""Whether a voice is heard, by Silero VAD: its network from the package silero-vad, without torch.

The network is recurrent. Its state is the stream's, not the session's, so that one session serves
all streams, and a saved stream goes on to the bit.
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mms_engine.errors import BackendError
from mms_engine.types import Float32Array

WINDOW = 512
"""Samples at 16 kHz that the network gives one probability for."""
_BEFORE = 64
"""Samples before a window that it hears again."""
_SAMPLE_RATE = 16_000
_THRESHOLD = 0.5
"""Probability from which a window holds a voice; that of silero-vad's own examples."""
_HINT = "pip install --no-deps silero-vad (with its dependencies comes torch, which is not needed)"

Detect = Callable[[Float32Array, Float32Array], tuple[float, Float32Array]]
"""From a window and what lies before it, `[64 + 512]`, and a state, `[2, 1, 128]`: the probability
of a voice, and the next state."""


@functools.cache
def load_silero() -> Detect:
    """Return the network, loaded once. It may be called from several threads at once.

    Raises:
        BackendError: silero-vad is not installed, or another release of it.
    """
    package = importlib.util.find_spec("silero_vad")
    places = package.submodule_search_locations if package else None
    if not places:
        raise BackendError(f"voices are found by silero-vad, which is not installed: {_HINT}")
    path = Path(next(iter(places))) / "data" / "silero_vad.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(f"{path} cannot be loaded: {error}; tested is silero-vad 6") from error
    rate = np.array(_SAMPLE_RATE, np.int64)

    def detect(window: Float32Array, state: Float32Array) -> tuple[float, Float32Array]:
        feeds = {"input": window[np.newaxis], "state": state, "sr": rate}
        probability, after = session.run(None, feeds)
        return float(probability[0, 0]), after

    return detect


class Voice:
    """Where a voice was heard in a stream. Samples are counted from its start, frames too."""

    def __init__(self, detect: Detect, stride: int, receptive_field: int) -> None:
        self._detect = detect
        self._stride, self._middle = stride, receptive_field // 2
        self.end = 0
        """Samples that were heard; the next to be given."""
        self._rest: Float32Array = np.zeros(_BEFORE, np.float32)
        """What lies before the next window, and what there is of that."""
        self._state: Float32Array = np.zeros((2, 1, 128), np.float32)
        self._first = 0
        """Window that `_voiced` begins with."""
        self._voiced: list[bool] = []

    def hear(self, samples: Float32Array) -> None:
        """Hear the next samples, float32 `[N]`, full scale ±1."""
        self.end += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= _BEFORE + WINDOW:
            window = self._rest[: _BEFORE + WINDOW]
            probability, self._state = self._detect(window, self._state)
            self._voiced.append(probability >= _THRESHOLD)
            self._rest = self._rest[WINDOW:]

    def frames(self, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Return which of frames `[start, end)` hold a voice, by the window of their middle.

        Those whose window is not complete count as voice.
        """
        windows = (np.arange(start, end) * self._stride + self._middle) // WINDOW - self._first
        known = np.array([*self._voiced, True])
        return known[np.clip(windows, 0, len(self._voiced))]

    def forget(self, frame: int) -> None:
        """Forget what is not needed from a frame on."""
        window = (frame * self._stride + self._middle) // WINDOW
        passed = min(max(0, window - self._first), len(self._voiced))
        self._first += passed
        del self._voiced[:passed]

    def state(self) -> dict[str, Any]:
        """Return all that has to be known to go on elsewhere."""
        return {
            "end": self.end,
            "rest": self._rest,
            "state": self._state,
            "first": self._first,
            "voiced": self._voiced,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.end, self._rest, self._state = state["end"], state["rest"], state["state"]
        self._first, self._voiced = state["first"], list(state["voiced"])
