"""wav2vec 2.0 with language adapters in plain torch: nothing folded or fused.

Tensors are asked for by name whenever they are used, so that they may lie on a disk.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.config import LAYER_NORM_EPS

Read = Callable[[str], Tensor]
"""Returns a tensor by its name in `names.base_shapes` or `names.adapter_shapes`."""


class Network:
    """The encoder, whose languages are given with each call."""

    def __init__(self, config: Wav2Vec2, base: Read) -> None:
        self.config = config
        self.base = base

    def features(self, audio: Tensor) -> Tensor:
        """Return the normalised outputs of the convolutions, `[B, T, C]`.

        Args:
            audio: Normalised samples `[B, N]`, without padding.
        """
        value = audio[:, None]
        for index, stride in enumerate(self.config.conv_stride):
            name = f"feature_extractor.conv_layers.{index}"
            weight, bias = self.base(f"{name}.conv.weight"), self.base(f"{name}.conv.bias")
            value = functional.conv1d(value, weight, bias, stride=stride).transpose(1, 2)
            value = functional.gelu(norm(value, self.base, f"{name}.layer_norm")).transpose(1, 2)
        return norm(value.transpose(1, 2), self.base, "feature_projection.layer_norm")

    def project(self, features: Tensor) -> Tensor:
        """Return the inputs of the transformer, `[B, T, H]`."""
        return linear(features, self.base, "feature_projection.projection")

    def encode(self, value: Tensor, language: Read, lengths: Tensor | None = None) -> Tensor:
        """Return the residual stream behind the last layer, `[B, T, H]`.

        Args:
            value: Inputs of the transformer.
            language: Tensors of the language, or of the base model where the adapters are its own.
            lengths: Frames of each row, int64 `[B]`; `None` for rows without padding.
        """
        valid = None
        if lengths is not None:
            valid = torch.arange(value.shape[1], device=value.device) < lengths[:, None]
            value = value * valid[..., None]
        value = value + self.positions(value)
        for index in range(self.config.num_hidden_layers):
            value = self.layer(value, language, f"encoder.layers.{index}", valid)
        return value

    def normal(self, value: Tensor) -> Tensor:
        """Return the normalised residual stream: the last hidden states."""
        return norm(value, self.base, "encoder.layer_norm")

    def head(self, value: Tensor, language: Read) -> Tensor:
        """Return the logits `[B, T, V]` of the residual stream."""
        return linear(self.normal(value), language, "lm_head")

    def positions(self, value: Tensor) -> Tensor:
        """Return the positional embedding of inputs of the transformer, `[B, T, H]`."""
        name, kernel = "encoder.pos_conv_embed.conv", self.config.num_conv_pos_embeddings
        direction = self.base(f"{name}.weight_v")
        length = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
        convolved = functional.conv1d(
            value.transpose(1, 2),
            self.base(f"{name}.weight_g") * direction / length,
            self.base(f"{name}.bias"),
            padding=kernel // 2,
            groups=self.config.num_conv_pos_embedding_groups,
        )
        return functional.gelu(convolved[:, :, : value.shape[1]]).transpose(1, 2)

    def layer(
        self, value: Tensor, language: Read, name: str, valid: Tensor | None = None
    ) -> Tensor:
        """Return the residual stream behind a layer; `valid` marks the frames `[B, T]` of rows."""
        base = self.base
        value = value + self.attention(value, name, valid)
        wide = norm(value, base, f"{name}.final_layer_norm")
        wide = functional.gelu(linear(wide, base, f"{name}.feed_forward.intermediate_dense"))
        value = value + linear(wide, base, f"{name}.feed_forward.output_dense")
        if not self.config.adapter_attn_dim:
            return value
        squeezed = norm(value, language, f"{name}.adapter_layer.norm")
        squeezed = linear(squeezed, language, f"{name}.adapter_layer.linear_1").relu()
        return value + linear(squeezed, language, f"{name}.adapter_layer.linear_2")

    def attention(self, value: Tensor, name: str, valid: Tensor | None = None) -> Tensor:
        """Return what a layer's attention adds to the residual stream, `[B, T, H]`."""
        normal = norm(value, self.base, f"{name}.layer_norm")
        heads = self.config.num_attention_heads
        queries, keys, values = (
            linear(normal, self.base, f"{name}.attention.{part}_proj")
            .view(*value.shape[:2], heads, -1)
            .transpose(1, 2)
            for part in "qkv"
        )
        mask = None if valid is None else valid[:, None, None]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, mask)
        return linear(mixed.transpose(1, 2).flatten(2), self.base, f"{name}.attention.out_proj")


def linear(value: Tensor, tensors: Read, name: str) -> Tensor:
    """Return `value` times a weight plus its bias."""
    return functional.linear(value, tensors(f"{name}.weight"), tensors(f"{name}.bias"))


def norm(value: Tensor, tensors: Read, name: str) -> Tensor:
    """Return `value` normalised over its last axis, scaled and shifted."""
    weight, bias = tensors(f"{name}.weight"), tensors(f"{name}.bias")
    return functional.layer_norm(value, value.shape[-1:], weight, bias, LAYER_NORM_EPS)
