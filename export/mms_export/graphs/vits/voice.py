"""Weights of a voice as the graphs take them, with all that is constant folded."""

import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from mms_engine.bundle.manifest import Tensor, Vits
from mms_engine.errors import MmsError
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.graphs.contract import tensors
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.vits.decoder import build_decoder
from mms_export.graphs.vits.flow import build_flow, moved_half
from mms_export.graphs.vits.text import build_text

BUILDERS = (build_text, build_flow, build_decoder)
ACTIVATIONS = frozenset(("ids", "lengths", "duration_noise", "latents", "features", "valid"))
"""Inputs of the graphs that are not weights."""
EMBEDDING = "text_encoder.embed_tokens.weight"
_AFFINE = "duration_predictor.flows.0"
_ATTENTION = r"text_encoder\.encoder\.layers\.\d+\.attention"


def voice_shapes(config: Vits, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a voice by name, in the order of the graphs' inputs."""
    shapes: dict[str, tuple[int, ...]] = {}
    for build in BUILDERS:
        for value in build(config, Weights({}, _no_weights), NUMERICS["fp32"]).inputs:
            if value.name not in ACTIVATIONS:
                sizes = value.type.tensor_type.shape.dim
                shapes[value.name] = tuple(d.dim_value or vocab_size for d in sizes)
    return shapes


def quantized_inputs(config: Vits) -> tuple[Tensor, ...]:
    """Return the inputs of the 8-bit decoder that a voice's quantised weights are."""
    inputs, _ = tensors(build_decoder(config, Weights({}, _no_weights), NUMERICS["int8"]))
    known = voice_shapes(config, vocab_size=1).keys() | ACTIVATIONS
    return tuple(tensor for tensor in inputs if tensor.name not in known)


def _no_weights(name: str) -> FloatArray:
    raise KeyError(name)


def fold_voice(config: Vits, weights: Weights, vocab_size: int) -> Iterator[tuple[str, FloatArray]]:
    """Yield the tensors of a voice, float32, in the order of `voice_shapes`.

    Args:
        config: Network sizes.
        weights: Tensors under transformers' names, weight norm as `weight_g` and `weight_v`.
        vocab_size: Number of tokens.

    Raises:
        MmsError: a tensor is missing or has another shape.
    """
    for name, shape in voice_shapes(config, vocab_size).items():
        tensor = _folded(config, weights, name)
        if tensor.shape != shape:
            raise MmsError(f"{name} has the shape {list(tensor.shape)}, not {list(shape)}")
        yield name, np.ascontiguousarray(tensor)


def _folded(config: Vits, weights: Weights, name: str) -> FloatArray:
    if name.startswith(f"{_AFFINE}."):
        return _affine(weights, name)
    tensor = read_weight(weights, name)
    for pattern, change in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            tensor = change(config, tensor, match)
    return tensor


def read_weight(weights: Weights, name: str) -> FloatArray:
    """Read a tensor, with weight norm applied as torch does.

    Raises:
        MmsError: it is missing.
    """
    if name in weights.shapes:
        return weights.read(name)
    scale, direction = f"{name}_g", f"{name}_v"
    if not {scale, direction} <= weights.shapes.keys():
        raise MmsError(f"the checkpoint has no {name}")
    import torch

    parts = (torch.from_numpy(weights.read(part)) for part in (direction, scale))
    # The function behind torch's weight norm, for the same bits.
    folded = torch._weight_norm(*parts, 0)  # type: ignore[call-arg,arg-type]  # noqa: SLF001
    result: FloatArray = folded.numpy()
    return result


def _affine(weights: Weights, name: str) -> FloatArray:
    """Return the scale or shift of the first channel, the only one that the durations take."""
    scale = np.exp(-weights.read(f"{_AFFINE}.log_scale")[:1, 0])
    if name.endswith(".scale"):
        return scale
    shift: FloatArray = -weights.read(f"{_AFFINE}.translate")[:1, 0] * scale
    return shift


_Change = Callable[[Vits, FloatArray, "re.Match[str]"], FloatArray]


def _scaled(factor: Callable[[Vits], float]) -> _Change:
    return lambda config, tensor, _: tensor * np.float32(factor(config))


def _matrix(config: Vits, tensor: FloatArray, match: "re.Match[str]") -> FloatArray:  # noqa: ARG001
    """Return a linear layer, or a convolution of kernel 1, as a matrix `[inputs, outputs]`."""
    return tensor.reshape(tensor.shape[:2]).T


def _flipped(axis: int) -> _Change:
    """Reverse the channels of a coupling layer that sees the latents flipped."""

    def change(config: Vits, tensor: FloatArray, match: "re.Match[str]") -> FloatArray:
        is_flipped = moved_half(config, int(match[1])) == 0
        return np.flip(tensor, axis) if is_flipped else tensor

    return change


def _unflipped(config: Vits, tensor: FloatArray, match: "re.Match[str]") -> FloatArray:  # noqa: ARG001
    """Reverse the channels of the latents that an odd number of flips leaves reversed."""
    return np.flip(tensor, 1) if config.prior_encoder_num_flows % 2 else tensor


def _bin_scaled(config: Vits, tensor: FloatArray, match: "re.Match[str]") -> FloatArray:  # noqa: ARG001
    """Divide the widths and heights of the bins by the root of the hidden size."""
    scaled = tensor.copy()
    scaled[: 2 * config.duration_predictor_flow_bins] /= np.float32(math.sqrt(config.hidden_size))
    return scaled


_RULES: tuple[tuple[str, _Change], ...] = (
    (r"text_encoder\.embed_tokens\.weight", _scaled(lambda c: math.sqrt(c.hidden_size))),
    (
        rf"{_ATTENTION}\.q_proj\.\w+",
        _scaled(lambda c: (c.hidden_size // c.num_attention_heads) ** -0.5),
    ),
    (rf"{_ATTENTION}\.\w+_proj\.weight", _matrix),
    (rf"{_ATTENTION}\.emb_rel_k", lambda _, tensor, __: tensor[0].T),
    (rf"{_ATTENTION}\.emb_rel_v", lambda _, tensor, __: tensor[0]),
    (r"text_encoder\.project\.weight", _matrix),
    (r"duration_predictor\..*\.convs_pointwise\.\d+\.weight", _matrix),
    (r"duration_predictor\.flows\.\d+\.conv_proj\.\w+", _bin_scaled),
    (r"flow\.flows\.(\d+)\.conv_pre\.weight", _flipped(1)),
    (r"flow\.flows\.(\d+)\.conv_post\.\w+", _flipped(0)),
    (r"decoder\.conv_pre\.weight", _unflipped),
    (
        r"decoder\.(?:upsampler\.[1-9]\d*|conv_post)\.weight",
        _scaled(lambda c: 1 / len(c.resblock_kernel_sizes)),
    ),
)
