"""Network sizes of a pickled checkpoint, which has no config.json."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.config import parse_config
from mms_export.checkpoints.weights import Weights

_DEFAULT_HEADS = 16
_MMS_CONVOLUTIONS = {10: 5, 3: 2, 2: 2}
"""Stride by kernel size, for files without `conv_feature_layers`."""


def pickled_config(
    document: Mapping[str, Any], tensors: Weights, path: Path, *, rank: int = 0
) -> Wav2Vec2Ctc:
    """Return the sizes of a model of speech recognition; see `pickled_document`."""
    return parse_config(pickled_document(document, tensors, path, rank=rank), where=str(path))


def pickled_document(
    document: Mapping[str, Any], tensors: Weights, path: Path, *, rank: int = 0
) -> dict[str, Any]:
    """Derive a config.json from tensor shapes, and from training options what shapes do not show.

    Args:
        document: Content of the `.pt`; without training options, those of MMS are assumed.
        tensors: Base model, under the names of `names.base_shapes`.
        path: Path of the `.pt`, for messages.
        rank: Size of the adapters' inner layer; 0 without adapters.

    Raises:
        MmsError: the file is not a checkpoint of wav2vec 2.0.
    """
    shapes = tensors.shapes
    options = document.get("cfg") or document.get("args")
    convolutions = _convolutions(shapes, find_option(options, "conv_feature_layers"))
    try:
        positions = shapes["encoder.pos_conv_embed.conv.weight_v"]
        inner, hidden = shapes["encoder.layers.0.feed_forward.intermediate_dense.weight"]
    except (KeyError, ValueError) as error:
        raise MmsError(f"{path} is not a checkpoint of wav2vec 2.0: {error!r}") from error
    layers = {name.split(".")[2] for name in shapes if name.startswith("encoder.layers.")}
    heads = find_option(options, "encoder_attention_heads", default=_DEFAULT_HEADS)
    # A classifier has an `activation_fn` of its own, outside the encoder's options.
    encoder = find_option(options, "w2v_args", default=options)
    return {
        "feat_extract_norm": "layer",
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in shapes,
        "do_stable_layer_norm": bool(find_option(options, "layer_norm_first", default=True)),
        "hidden_act": find_option(encoder, "activation_fn", default="gelu"),
        "conv_dim": [outputs for outputs, _, _ in convolutions],
        "conv_kernel": [kernel for _, kernel, _ in convolutions],
        "conv_stride": [stride for _, _, stride in convolutions],
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "num_conv_pos_embeddings": positions[2],
        "num_conv_pos_embedding_groups": hidden // positions[1],
        "adapter_attn_dim": rank,
        "normalize": bool(find_option(document.get("cfg"), "normalize", default=True)),
    }


def _convolutions(
    shapes: Mapping[str, tuple[int, ...]], written: object
) -> list[tuple[int, int, int]]:
    """Return channels, kernel and stride of each convolution.

    `written` has the form `[(512, 10, 5)] + [(512, 3, 2)] * 4`; it is parsed, not evaluated.
    """
    terms = re.findall(r"\((\d+),\s*(\d+),\s*(\d+)\)[\s\]]*(?:\*\s*(\d+))?", str(written or ""))
    strides = [int(stride) for _, _, stride, times in terms for _ in range(int(times or 1))]
    convolutions: list[tuple[int, int, int]] = []
    while shape := shapes.get(f"feature_extractor.conv_layers.{len(convolutions)}.conv.weight"):
        index, (outputs, _, kernel) = len(convolutions), shape
        default = _MMS_CONVOLUTIONS.get(kernel, 1)
        stride = strides[index] if index < len(strides) else default
        convolutions.append((outputs, kernel, stride))
    return convolutions


def find_option(options: object, key: str, *, default: object = None) -> object:
    """Return the first value of `key` in nested options, outermost first."""
    return next(
        (value for name, value in _walk(options) if name == key and value is not None), default
    )


def _walk(options: object) -> Iterator[tuple[str, object]]:
    pending = [options]
    while pending:
        current = pending.pop(0)
        items = current if isinstance(current, dict) else getattr(current, "__dict__", {})
        yield from items.items()
        pending += items.values()
