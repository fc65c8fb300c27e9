"""Acoustic model: a bundle's frontend and encoder with its adapters, samples to logits."""

import threading
from collections.abc import Sequence
from typing import Any

from mms_engine.bank.adapters import AdapterBank
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.bundle.reader import Bundle
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.encoder.interface import Encoder
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Float32Array


class AcousticModel:
    """A bundle's frontend and encoder, loaded. Methods may be called from several threads."""

    def __init__(self, bundle: Bundle, encoder: Encoder) -> None:
        """Take over the encoder of a bundle."""
        self.bundle = bundle
        self.geometry = FrameGeometry.of(bundle.model(Wav2Vec2))
        self.encoder = encoder
        self._vocabularies: dict[str, Vocabulary] = {}
        self._lock = threading.Lock()

    @property
    def bank(self) -> AdapterBank[Any] | None:
        """Resident languages; `None` for a model without adapters."""
        return self.encoder.bank

    @property
    def device(self) -> str:
        """Device of the encoder: `cpu` or `cuda`."""
        return self.encoder.device

    @property
    def frame_seconds(self) -> float:
        """Seconds from the start of a frame to the start of the next."""
        return self.geometry.stride / self.bundle.manifest.sample_rate

    def vocabulary(self, language: str) -> Vocabulary:
        """Return a language's tokens, from the header of its file: its weights stay on disk.

        Raises:
            LanguageError: the bundle does not have it.
            BundleError: its file is damaged.
        """
        with self._lock:
            if language not in self._vocabularies:
                self._vocabularies[language] = self.bundle.vocabulary(language)
            return self._vocabularies[language]

    def logits(self, segments: Sequence[Segment]) -> list[Float32Array]:
        """Run segments as one batch and return their logits in host memory.

        Returns:
            For each segment an array `[T, V]`: its own frames, its own language's V.

        Raises:
            BackendError: the device failed.
        """
        with self.encoder.emission(segments) as emission:
            return emission.rows()

    def close(self) -> None:
        """Free the graphs."""
        self.encoder.close()
