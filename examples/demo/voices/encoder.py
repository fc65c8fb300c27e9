"""The text encoder of `VitsModel` as matrix products in bfloat16: faster to train on a CPU."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import VitsModel

HALF = torch.bfloat16


def _linear(module: nn.Module, x: Tensor) -> Tensor:
    return functional.linear(x, module.weight.to(HALF), module.bias.to(HALF))


def _convolution(module: nn.Conv1d, x: Tensor) -> Tensor:
    """Convolve x [B, T, C] with padding: one product over the kernel's width."""
    width = module.kernel_size[0]
    padded = functional.pad(x, (0, 0, (width - 1) // 2, width // 2))
    windows = torch.cat([padded[:, k : k + x.shape[1]] for k in range(width)], dim=-1)
    weight = module.weight.permute(0, 2, 1).reshape(module.out_channels, -1)
    return functional.linear(windows, weight.to(HALF), module.bias.to(HALF))


def _norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    weight, bias = module.weight.to(HALF), module.bias.to(HALF)
    return functional.layer_norm(x, module.normalized_shape, weight, bias, module.eps)


def _attention(module: nn.Module, x: Tensor, bias: Tensor, near: Tensor, offsets: Tensor) -> Tensor:
    rows, length, width = x.shape
    heads, size = module.num_heads, width // module.num_heads

    def split(values: Tensor) -> Tensor:
        return values.view(rows, length, heads, size).transpose(1, 2)

    query = split(_linear(module.q_proj, x) * module.scaling)
    key, value = split(_linear(module.k_proj, x)), split(_linear(module.v_proj, x))
    relative = query @ module.emb_rel_k[0].to(HALF).T
    index = offsets.expand(rows, heads, -1, -1)
    scores = query @ key.transpose(-1, -2) + relative.gather(-1, index) * near + bias
    probabilities = scores.softmax(-1)
    close = torch.zeros_like(relative).scatter_add(-1, index, probabilities * near)
    found = probabilities @ value + close @ module.emb_rel_v[0].to(HALF)
    return _linear(module.out_proj, found.transpose(1, 2).reshape(rows, length, width))


def encode(model: VitsModel, ids: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states, prior means and prior log deviations of `model.text_encoder`.

    Args:
        model: A model whose encoder has no dropout.
        ids: Letters, shape [B, T].
        tokens: Valid ids of each row, shape [B].

    Returns:
        Three tensors of shape [B, T, D], float32.
    """
    encoder, config = model.text_encoder, model.config
    length = ids.shape[1]
    valid = torch.arange(length) < tokens[:, None]
    mask = valid[..., None].to(HALF)
    bias = torch.where(valid, 0.0, -1e4).to(HALF)[:, None, None]
    steps = torch.arange(length)
    distance = steps - steps[:, None]
    near = (distance.abs() <= config.window_size).to(HALF)
    offsets = distance.clamp(-config.window_size, config.window_size) + config.window_size
    x = (encoder.embed_tokens(ids) * math.sqrt(config.hidden_size)).to(HALF) * mask
    for layer in encoder.encoder.layers:
        x = _norm(layer.layer_norm, x + _attention(layer.attention, x, bias, near, offsets))
        hidden = _convolution(layer.feed_forward.conv_1, x * mask).relu()
        hidden = _convolution(layer.feed_forward.conv_2, hidden * mask) * mask
        x = _norm(layer.final_layer_norm, x + hidden)
    x = (x * mask).float()
    project = encoder.project
    stats = functional.linear(x, project.weight[..., 0], project.bias) * mask
    means, log_deviations = stats.float().chunk(2, dim=-1)
    return x, means, log_deviations
