"""Network sizes of a checkpoint, read from its config.json and checked against MMS."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mms_engine.bundle.manifest import (
    Wav2Vec2,
    Wav2Vec2Classifier,
    Wav2Vec2Ctc,
    Wav2Vec2Pretrained,
)
from mms_engine.errors import MmsError

LAYER_NORM_EPS = 1e-5
OMNILINGUAL_HEADS = 16
"""Attention heads of every size of Omnilingual ASR; no tensor shows them."""
OMNILINGUAL_SIZES = {"300M": (24, 1024), "1B": (48, 1280), "3B": (60, 2048), "7B": (128, 2048)}
"""Layers and hidden size of the published models."""
OMNILINGUAL_RELEASES = {9812: "v1", 10288: "v2"}
"""Releases of the tokenizer by number of pieces."""


def is_omnilingual(config: Wav2Vec2, rows: int) -> bool:
    """Whether network sizes and the rows of a head are those of a published Omnilingual model."""
    sizes = (config.num_hidden_layers, config.hidden_size)
    return rows in OMNILINGUAL_RELEASES and sizes in OMNILINGUAL_SIZES.values()


def adapter_sizes(config: Wav2Vec2) -> tuple[int, int, int, int]:
    """Return the elements of one layer's adapter: down, down bias, up, up bias."""
    hidden, inner = config.hidden_size, config.adapter_attn_dim
    return hidden * inner, inner, inner * hidden, hidden if inner else 0


def adapter_parameters(config: Wav2Vec2) -> int:
    """Return the number of elements of one language's adapters in all layers."""
    return config.num_hidden_layers * sum(adapter_sizes(config))


# Properties of every MMS model, on which the graphs rely: required value, and the default of
# transformers for an absent key.
_REQUIRED: dict[str, tuple[Any, Any]] = {
    "model_type": ("wav2vec2", "wav2vec2"),
    "feat_extract_norm": ("layer", "group"),
    "feat_extract_activation": ("gelu", "gelu"),
    "hidden_act": ("gelu", "gelu"),
    "conv_bias": (True, False),
    "do_stable_layer_norm": (True, False),
    "add_adapter": (False, False),
    "layer_norm_eps": (LAYER_NORM_EPS, LAYER_NORM_EPS),
}


_CLASSIFIER_REQUIRED: dict[str, tuple[Any, Any]] = {
    **_REQUIRED,
    "use_weighted_layer_sum": (False, False),
}


def parse_config(document: Mapping[str, Any], *, where: str) -> Wav2Vec2Ctc:
    """Read a transformers config.json, to which `normalize` of the preprocessor may be added.

    A model without `adapter_attn_dim` has no language adapters.

    Raises:
        MmsError: the network is not that of MMS ASR; the message names the key.
    """
    sizes = _parse_sizes(document, _REQUIRED, "ASR", where)
    parameters = adapter_parameters(sizes)
    return Wav2Vec2Ctc(**msgspec.structs.asdict(sizes), adapter_parameters=parameters)


def parse_classifier_config(document: Mapping[str, Any], *, where: str) -> Wav2Vec2Classifier:
    """Read the config.json of a `Wav2Vec2ForSequenceClassification`; see `parse_config`.

    Raises:
        MmsError: the network is not that of MMS language identification, or has no labels.
    """
    sizes = _parse_sizes(document, _CLASSIFIER_REQUIRED, "language identification", where)
    size = document.get("classifier_proj_size", 256)  # the default of transformers
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise MmsError(f"{where}: classifier_proj_size is {size!r}, must be a positive integer")
    return Wav2Vec2Classifier(
        **msgspec.structs.asdict(sizes),
        classifier_proj_size=size,
        labels=_labels(document.get("id2label"), where),
    )


def parse_pretrained_config(document: Mapping[str, Any], *, where: str) -> Wav2Vec2Pretrained:
    """Read the config.json of a pretrained model without a head; see `parse_config`.

    Raises:
        MmsError: the network is not that of MMS.
    """
    sizes = _parse_sizes(document, _REQUIRED, "pretrained", where)
    return Wav2Vec2Pretrained(**msgspec.structs.asdict(sizes))


def _labels(names: object, where: str) -> tuple[str, ...]:
    """Return the labels of `id2label` in the order of the classifier's outputs."""
    if not isinstance(names, Mapping) or not names:
        raise MmsError(f"{where}: id2label is missing, which names the languages")
    try:
        by_row = {int(row): label for row, label in names.items()}
    except ValueError as error:
        raise MmsError(f"{where}: id2label has a key that is not a number: {error}") from error
    labels: dict[str, int] = {}
    for row in range(len(names)):
        label = by_row.get(row)
        if not isinstance(label, str) or not label.strip():
            raise MmsError(f"{where}: id2label has no label for output {row}")
        if label in labels:
            raise MmsError(f"{where}: id2label has {label!r} twice")
        labels[label] = row
    return tuple(labels)


def _parse_sizes(
    document: Mapping[str, Any], properties: Mapping[str, tuple[Any, Any]], task: str, where: str
) -> Wav2Vec2:
    for key, (required, default) in properties.items():
        value = document.get(key, default)
        if value != required:
            raise MmsError(
                f"{where}: {key} is {value!r}, an MMS {task} checkpoint has {required!r}: "
                "this model cannot be exported"
            )
    adapter = document.get("adapter_attn_dim") or 0
    try:
        sizes = msgspec.convert(
            {"normalize": True, **document, "adapter_attn_dim": adapter}, Wav2Vec2
        )
    except msgspec.ValidationError as error:
        raise MmsError(f"{where}: missing or malformed value: {error}") from error
    _check_sizes(sizes, where)
    return sizes


def _check_sizes(config: Wav2Vec2, where: str) -> None:
    if not len(config.conv_dim) == len(config.conv_kernel) == len(config.conv_stride):
        raise MmsError(f"{where}: conv_dim, conv_kernel and conv_stride differ in length")
    for part in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if config.hidden_size % getattr(config, part):
            raise MmsError(
                f"{where}: hidden_size {config.hidden_size} is not a multiple of "
                f"{part} {getattr(config, part)}"
            )
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        if kernel < stride:
            raise MmsError(f"{where}: a convolution with kernel {kernel} skips samples at {stride}")
