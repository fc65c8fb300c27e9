"""Reference network: the encoder in plain torch float32, against which graphs are compared.

Weights are read layer by layer, so a model of any size runs in a few hundred megabytes.
"""

import numpy as np
import torch
from torch import Tensor

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.parity.network import Network, Read, linear


def reader(weights: Weights) -> Read:
    """Return a function that reads a tensor each time it is called."""
    return lambda name: torch.from_numpy(np.ascontiguousarray(weights.read(name)))


class Reference(Network):
    """One clip in one language at a time, without padding."""

    def __init__(self, config: Wav2Vec2, base: Weights) -> None:
        super().__init__(config, reader(base))

    def logits(self, audio: FloatArray, adapter: Weights) -> FloatArray:
        """Return the logits `[T, V]` of one clip.

        Args:
            audio: Normalised samples, float32 `[N]`.
            adapter: Tensors of the language, under the names of `names.adapter_shapes`.
        """
        language = reader(adapter)
        with torch.inference_mode():
            return self.head(self._encoded(audio, language), language)[0].numpy()

    def scores(self, audio: FloatArray) -> FloatArray:
        """Return the scores `[1, labels]` of one clip, of a model of language identification.

        Args:
            audio: Normalised samples, float32 `[N]`.
        """
        with torch.inference_mode():
            hidden = self.normal(self._encoded(audio, self.base))
            projected = linear(hidden, self.base, "projector")
            return linear(projected.mean(dim=1), self.base, "classifier").numpy()

    def hidden(self, audio: FloatArray) -> FloatArray:
        """Return the last hidden states `[T, H]` of one clip, of a model without a head.

        Args:
            audio: Normalised samples, float32 `[N]`.
        """
        with torch.inference_mode():
            return self.normal(self._encoded(audio, self.base))[0].numpy()

    def _encoded(self, audio: FloatArray, language: Read) -> Tensor:
        features = self.features(torch.from_numpy(audio)[None])
        return self.encode(self.project(features), language)
