"""Reference network: the encoder in plain torch float32, against which graphs are compared.

Weights are read layer by layer, so a model of any size runs in a few hundred megabytes.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.config import LAYER_NORM_EPS
from mms_export.checkpoints.weights import FloatArray, Weights


class Reference:
    """One clip in one language at a time; nothing folded, fused or padded."""

    def __init__(self, config: Wav2Vec2, base: Weights) -> None:
        self._config = config
        self._base = base

    def logits(self, audio: FloatArray, adapter: Weights) -> FloatArray:
        """Return the logits `[T, V]` of one clip.

        Args:
            audio: Normalised samples, float32 `[N]`.
            adapter: Tensors of the language, under the names of `names.adapter_shapes`.
        """
        with torch.inference_mode():
            return self._head(self._encoded(audio, adapter), adapter).numpy()

    def scores(self, audio: FloatArray) -> FloatArray:
        """Return the scores `[1, labels]` of one clip, of a model of language identification.

        Args:
            audio: Normalised samples, float32 `[N]`.
        """
        with torch.inference_mode():
            hidden = self._normal(self._encoded(audio, self._base))
            projected = _linear(hidden, self._base, "projector")
            return _linear(projected.mean(dim=1), self._base, "classifier").numpy()

    def hidden(self, audio: FloatArray) -> FloatArray:
        """Return the last hidden states `[T, H]` of one clip, of a model without a head.

        Args:
            audio: Normalised samples, float32 `[N]`.
        """
        with torch.inference_mode():
            return self._normal(self._encoded(audio, self._base))[0].numpy()

    def _encoded(self, audio: FloatArray, adapter: Weights) -> Tensor:
        """Return the residual stream behind the last layer, `[1, T, H]`."""
        value = self._features(torch.from_numpy(audio)[None])
        value = value + self._positions(value)
        for index in range(self._config.num_hidden_layers):
            value = self._layer(value, adapter, f"encoder.layers.{index}")
        return value

    def _head(self, value: Tensor, adapter: Weights) -> Tensor:
        return _linear(self._normal(value), adapter, "lm_head")[0]

    def _normal(self, value: Tensor) -> Tensor:
        return _norm(value, self._base, "encoder.layer_norm")

    def _features(self, audio: Tensor) -> Tensor:
        value = audio[:, None]
        for index, stride in enumerate(self._config.conv_stride):
            name = f"feature_extractor.conv_layers.{index}"
            weight, bias = _parameters(self._base, f"{name}.conv")
            value = functional.conv1d(value, weight, bias, stride=stride).transpose(1, 2)
            value = functional.gelu(_norm(value, self._base, f"{name}.layer_norm")).transpose(1, 2)
        value = _norm(value.transpose(1, 2), self._base, "feature_projection.layer_norm")
        return _linear(value, self._base, "feature_projection.projection")

    def _positions(self, value: Tensor) -> Tensor:
        name, kernel = "encoder.pos_conv_embed.conv", self._config.num_conv_pos_embeddings
        direction = _tensor(self._base, f"{name}.weight_v")
        norm = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
        convolved = functional.conv1d(
            value.transpose(1, 2),
            _tensor(self._base, f"{name}.weight_g") * direction / norm,
            _tensor(self._base, f"{name}.bias"),
            padding=kernel // 2,
            groups=self._config.num_conv_pos_embedding_groups,
        )
        return functional.gelu(convolved[:, :, : value.shape[1]]).transpose(1, 2)

    def _layer(self, value: Tensor, adapter: Weights, name: str) -> Tensor:
        base = self._base
        value = value + self._attention(value, name)
        wide = _norm(value, base, f"{name}.final_layer_norm")
        wide = functional.gelu(_linear(wide, base, f"{name}.feed_forward.intermediate_dense"))
        value = value + _linear(wide, base, f"{name}.feed_forward.output_dense")
        if not self._config.adapter_attn_dim:
            return value
        squeezed = _norm(value, adapter, f"{name}.adapter_layer.norm")
        squeezed = _linear(squeezed, adapter, f"{name}.adapter_layer.linear_1").relu()
        return value + _linear(squeezed, adapter, f"{name}.adapter_layer.linear_2")

    def _attention(self, value: Tensor, name: str) -> Tensor:
        normal = _norm(value, self._base, f"{name}.layer_norm")
        heads = self._config.num_attention_heads
        queries, keys, values = (
            _linear(normal, self._base, f"{name}.attention.{part}_proj")
            .view(*value.shape[:2], heads, -1)
            .transpose(1, 2)
            for part in "qkv"
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return _linear(mixed.transpose(1, 2).flatten(2), self._base, f"{name}.attention.out_proj")


def _tensor(weights: Weights, name: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(weights.read(name)))


def _parameters(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    return _tensor(weights, f"{name}.weight"), _tensor(weights, f"{name}.bias")


def _linear(value: Tensor, weights: Weights, name: str) -> Tensor:
    return functional.linear(value, *_parameters(weights, name))


def _norm(value: Tensor, weights: Weights, name: str) -> Tensor:
    weight, bias = _parameters(weights, name)
    return functional.layer_norm(value, value.shape[-1:], weight, bias, LAYER_NORM_EPS)
