"""Scores of windows of audio, for callers that divide recordings and streams themselves."""

from collections.abc import Sequence

from mms_engine.audio import statistics
from mms_engine.bundle.manifest import Wav2Vec2Classifier
from mms_engine.encoder.interface import StepInput
from mms_engine.encoder.model import AcousticModel
from mms_engine.types import Float32Array

_NO_LANGUAGE = ""
"""Language of the encoder's rows, which has no adapters to choose."""


class WindowClassifier:
    """Identification of windows. May be used from several threads at once."""

    def __init__(self, model: AcousticModel, threads: int | None = None) -> None:
        """Use a model; `threads` as for `Encoder.steps`."""
        self._model = model
        self._normalize = model.bundle.model(Wav2Vec2Classifier).normalize
        self._steps = model.encoder.steps(threads)

    def with_threads(self, threads: int | None) -> "WindowClassifier":
        """Return the same model with another number of threads per run."""
        return WindowClassifier(self._model, threads)

    def logits(self, windows: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the logits `[C]` of each window of samples `[N]` at a full scale of ±1.

        Each window is normalised by its own mean and variance, so its logits depend on its samples
        alone. Windows of equal length run as one batch.

        Raises:
            BackendError: the device failed.
        """
        normalized = [statistics(own).apply(own) for own in windows] if self._normalize else windows
        features = self._steps.features(normalized)
        by_length: dict[int, list[int]] = {}
        for index, rows in enumerate(features):
            by_length.setdefault(len(rows), []).append(index)
        logits: dict[int, Float32Array] = {}
        for indices in by_length.values():
            for start in range(0, len(indices), self._steps.rows):
                part = indices[start : start + self._steps.rows]
                inputs = [StepInput(features[index]) for index in part]
                outputs = self._steps.encode(inputs, [_NO_LANGUAGE] * len(part))
                logits.update((i, out.logits[0]) for i, out in zip(part, outputs, strict=True))
        return [logits[index] for index in range(len(windows))]
