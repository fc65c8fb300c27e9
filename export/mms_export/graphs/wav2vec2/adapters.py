"""Adapter packing: a language's adapter tensors as one row of the adapter bank."""

import numpy as np

from mms_engine.bundle.manifest import Wav2Vec2
from mms_export.checkpoints.weights import FloatArray, Weights


def pack_adapter(weights: Weights, config: Wav2Vec2) -> FloatArray:
    """Return a language's adapter weights as one row, float32 `[P]`.

    Layer by layer: down `[H, A]`, down bias `[A]`, up `[A, H]`, up bias `[H]`. The affine part of
    the adapter's layer norm is folded into down. Empty for a model without adapters.
    """
    parts: list[FloatArray] = [np.empty(0, np.float32)]
    for index in range(config.num_hidden_layers if config.adapter_attn_dim else 0):
        name = f"encoder.layers.{index}.adapter_layer"
        down = weights.read(f"{name}.linear_1.weight").astype(np.float64)
        gamma = weights.read(f"{name}.norm.weight").astype(np.float64)
        beta = weights.read(f"{name}.norm.bias").astype(np.float64)
        bias = weights.read(f"{name}.linear_1.bias") + down @ beta
        parts.append(np.ravel((down * gamma).T).astype(np.float32))
        parts.append(bias.astype(np.float32))
        parts.append(np.ravel(weights.read(f"{name}.linear_2.weight").T))
        parts.append(weights.read(f"{name}.linear_2.bias"))
    return np.concatenate(parts)
