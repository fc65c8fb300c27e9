"""The network in plain torch float32: what the graphs are compared with at export.

Weights are read layer by layer, so that a model of any size runs in a few hundred megabytes.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mms_export.checkpoints.config import LAYER_NORM_EPS, Config
from mms_export.checkpoints.weights import FloatArray, Weights


class Reference:
    """One clip at a time, one language at a time, nothing folded, fused or padded."""

    def __init__(self, config: Config, base: Weights) -> None:
        self._config = config
        self._base = base

    def logits(self, audio: FloatArray, adapters: list[Weights]) -> list[FloatArray]:
        """Return logits `[T, V]` of one clip in each of several languages.

        Args:
            audio: Normalised samples, float32 `[N]`.
            adapters: The tensors of each language.
        """
        with torch.inference_mode():
            value = self._features(torch.from_numpy(audio)[None])
            value = value + self._positions(value)
            values = [value] * len(adapters)
            for index in range(self._config.num_hidden_layers):
                values = self._layer(values, adapters, f"encoder.layers.{index}")
            return [
                self._head(value, adapter).numpy()
                for value, adapter in zip(values, adapters, strict=True)
            ]

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._base.read(name)))

    def _features(self, audio: Tensor) -> Tensor:
        value = audio[:, None]
        for index, stride in enumerate(self._config.conv_stride):
            name = f"feature_extractor.conv_layers.{index}"
            weight, bias = self._tensor(f"{name}.conv.weight"), self._tensor(f"{name}.conv.bias")
            value = functional.conv1d(value, weight, bias, stride=stride).transpose(1, 2)
            value = functional.gelu(_norm(value, self._base, f"{name}.layer_norm")).transpose(1, 2)
        value = _norm(value.transpose(1, 2), self._base, "feature_projection.layer_norm")
        return _linear(value, self._base, "feature_projection.projection")

    def _positions(self, value: Tensor) -> Tensor:
        name, kernel = "encoder.pos_conv_embed.conv", self._config.num_conv_pos_embeddings
        direction = self._tensor(f"{name}.weight_v")
        norm = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
        convolved = functional.conv1d(
            value.transpose(1, 2),
            self._tensor(f"{name}.weight_g") * direction / norm,
            self._tensor(f"{name}.bias"),
            padding=kernel // 2,
            groups=self._config.num_conv_pos_embedding_groups,
        )
        return functional.gelu(convolved[:, :, : value.shape[1]]).transpose(1, 2)

    def _layer(self, values: list[Tensor], adapters: list[Weights], name: str) -> list[Tensor]:
        base = _Cache(self._base)
        changed = []
        for value, adapter in zip(values, adapters, strict=True):
            attended = value + self._attention(value, base, name)
            wide = _norm(attended, base, f"{name}.final_layer_norm")
            wide = functional.gelu(_linear(wide, base, f"{name}.feed_forward.intermediate_dense"))
            fed = attended + _linear(wide, base, f"{name}.feed_forward.output_dense")
            squeezed = _norm(fed, adapter, f"{name}.adapter_layer.norm")
            squeezed = _linear(squeezed, adapter, f"{name}.adapter_layer.linear_1").relu()
            changed.append(fed + _linear(squeezed, adapter, f"{name}.adapter_layer.linear_2"))
        return changed

    def _attention(self, value: Tensor, base: Weights, name: str) -> Tensor:
        normal = _norm(value, base, f"{name}.layer_norm")
        heads = self._config.num_attention_heads
        queries, keys, values = (
            _linear(normal, base, f"{name}.attention.{part}_proj")
            .view(*value.shape[:2], heads, -1)
            .transpose(1, 2)
            for part in "qkv"
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return _linear(mixed.transpose(1, 2).flatten(2), base, f"{name}.attention.out_proj")

    def _head(self, value: Tensor, adapter: Weights) -> Tensor:
        return _linear(_norm(value, self._base, "encoder.layer_norm"), adapter, "lm_head")[0]


class _Cache:
    """Reads each tensor once, for as long as one layer runs."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._read: dict[str, FloatArray] = {}

    def read(self, name: str) -> FloatArray:
        if name not in self._read:
            self._read[name] = self._weights.read(name)
        return self._read[name]


def _weight(weights: Weights, name: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(weights.read(name)))


def _linear(value: Tensor, weights: Weights, name: str) -> Tensor:
    return functional.linear(
        value, _weight(weights, f"{name}.weight"), _weight(weights, f"{name}.bias")
    )


def _norm(value: Tensor, weights: Weights, name: str) -> Tensor:
    return functional.layer_norm(
        value,
        value.shape[-1:],
        _weight(weights, f"{name}.weight"),
        _weight(weights, f"{name}.bias"),
        LAYER_NORM_EPS,
    )
