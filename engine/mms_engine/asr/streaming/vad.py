"""Voice activity detection with the network of the package silero-vad, run without torch.

The network is recurrent. Each stream owns its state, so that one session serves all streams and a
saved stream continues exactly.
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.backends.registry import open_file
from mms_engine.backends.session import Array
from mms_engine.errors import BackendError
from mms_engine.types import Float32Array

WINDOW = 512
"""Samples at 16 kHz per probability."""
_BEFORE = 64
"""Samples before a window that are part of the network's input."""
_SAMPLE_RATE = 16_000
_THRESHOLD = 0.5
"""Probability from which a window holds speech, as in silero-vad's examples."""
_HINT = "pip install --no-deps silero-vad (its dependency torch is not needed)"

Detect = Callable[[Float32Array, Float32Array], tuple[float, Float32Array]]
"""Maps a window with the samples before it, `[64 + 512]`, and a state, `[2, 1, 128]`, to the
probability of speech and the next state."""


@functools.cache
def load_silero() -> Detect:
    """Return the network, loaded once per process. Thread-safe.

    Raises:
        BackendError: silero-vad is not installed, or its network cannot be loaded.
    """
    package = importlib.util.find_spec("silero_vad")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise BackendError(f"the voice detector silero needs the package silero-vad: {_HINT}")
    path = Path(next(iter(folders))) / "data" / "silero_vad.onnx"
    try:
        run = open_file(path)
    except BackendError as error:
        raise BackendError(f"{error}; silero-vad was tested with release 6") from error
    rate = np.array(_SAMPLE_RATE, np.int64)

    def detect(window: Float32Array, state: Float32Array) -> tuple[float, Float32Array]:
        feeds: dict[str, Array] = {"input": window[np.newaxis], "state": state, "sr": rate}
        probability, after = run(feeds)
        return float(probability[0, 0]), after

    return detect


class VoiceActivity:
    """Voice activity of a stream; samples and frames are counted from its start."""

    def __init__(self, detect: Detect, stride: int, receptive_field: int) -> None:
        self._detect = detect
        self._stride, self._middle = stride, receptive_field // 2
        self.end = 0
        """Samples seen; index of the next."""
        self._rest: Float32Array = np.zeros(_BEFORE, np.float32)
        """Samples before the next window, and those of it that have arrived."""
        self._state: Float32Array = np.zeros((2, 1, 128), np.float32)
        self._first = 0
        """Index of the first window in `_voiced`."""
        self._voiced: list[bool] = []

    def detect(self, samples: Float32Array) -> None:
        """Classify the next samples, float32 `[N]` at a full scale of ±1."""
        self.end += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= _BEFORE + WINDOW:
            window = self._rest[: _BEFORE + WINDOW]
            probability, self._state = self._detect(window, self._state)
            self._voiced.append(probability >= _THRESHOLD)
            self._rest = self._rest[WINDOW:]

    def frames(self, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Return whether each of frames `[start, end)` is speech, by the window at its middle.

        Frames of an incomplete window count as speech.
        """
        windows = (np.arange(start, end) * self._stride + self._middle) // WINDOW - self._first
        known = np.array([*self._voiced, True])
        return known[np.clip(windows, 0, len(self._voiced))]

    def forget(self, frame: int) -> None:
        """Drop windows before a frame."""
        window = (frame * self._stride + self._middle) // WINDOW
        passed = min(max(0, window - self._first), len(self._voiced))
        self._first += passed
        del self._voiced[:passed]

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        return {
            "end": self.end,
            "rest": self._rest,
            "state": self._state,
            "first": self._first,
            "voiced": self._voiced,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.end, self._rest, self._state = state["end"], state["rest"], state["state"]
        self._first, self._voiced = state["first"], list(state["voiced"])
