"""Checkpoints of fairseq: one `.pt` file with the base model and every language."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, AdapterFile, Checkpoint
from mms_export.checkpoints.fairseq_config import fairseq_config
from mms_export.checkpoints.files import base_model, load_pickle, renamed, tensors_of
from mms_export.checkpoints.names import adapter_shapes, base_shapes, check_shapes, neutral
from mms_export.checkpoints.weights import Weights

_INERT = ("argparse", "fairseq", "omegaconf", "typing", "enum", "collections")
_MODEL = "w2v_encoder.w2v_model."
_IGNORED = ("mask_emb", "quantizer.", "project_q.", "final_proj.")  # used in training only

# Patterns of fairseq's names, and their replacements.
_RENAMES = (
    (r"layer_norm\.(\w+)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(\w+)", r"feature_projection.projection.\1"),
    (
        r"feature_extractor\.conv_layers\.(\d+)\.0\.(\w+)",
        r"feature_extractor.conv_layers.\1.conv.\2",
    ),
    (
        r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.(\w+)",
        r"feature_extractor.conv_layers.\1.layer_norm.\2",
    ),
    (r"encoder\.pos_conv\.0\.(.+)", r"encoder.pos_conv_embed.conv.\1"),
    (r"(encoder\.layers\.\d+)\.self_attn\.(\w+)\.(\w+)", r"\1.attention.\2.\3"),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm\.(\w+)", r"\1.layer_norm.\2"),
    (r"(encoder\.layers\.\d+)\.fc1\.(\w+)", r"\1.feed_forward.intermediate_dense.\2"),
    (r"(encoder\.layers\.\d+)\.fc2\.(\w+)", r"\1.feed_forward.output_dense.\2"),
)
_ADAPTER_PARTS = {
    "W_a": "linear_1.weight",
    "b_a": "linear_1.bias",
    "W_b": "linear_2.weight",
    "b_b": "linear_2.bias",
    "ln_W": "norm.weight",
    "ln_b": "norm.bias",
}


def open_fairseq(path: Path) -> Checkpoint:
    """Open a `.pt` file such as mms1b_all.pt.

    Raises:
        MmsError: the file is not a checkpoint of MMS ASR.
    """
    document = _load(path)
    for key in ("model", "adapter"):
        if not isinstance(document.get(key), dict):
            raise MmsError(f"{path} has no {key!r}: it is not a checkpoint of fairseq's MMS ASR")
    opened = tensors_of(document["model"], where=str(path))
    tensors = base_model(renamed(opened, neutral_name), _IGNORED)
    config = fairseq_config(document, tensors, path)
    check_shapes(tensors.shapes, base_shapes(config), where=str(path))
    return Checkpoint(
        name=path.stem,
        format="fairseq",
        path=path,
        config=config,
        weights=tensors,
        weight_files=(path,),
        adapters=_adapters(document, path),
        sample_rate=16000,
        licence=MMS_LICENCE,
    )


@functools.cache
def _load(path: Path) -> Mapping[str, Any]:
    # Cached: the file holds every language, and indexing its 340,000 tensors takes seconds.
    return load_pickle(path, _INERT)


def neutral_name(name: str) -> str:
    """Return the name of `names.base_shapes` or `adapter_shapes` for a fairseq name."""
    if name.startswith("w2v_encoder.proj."):
        return name.replace("w2v_encoder.proj", "lm_head")
    name = name.removeprefix(_MODEL)
    for pattern, replacement in _RENAMES:
        renamed_name, count = re.subn(f"^{pattern}$", replacement, name)
        if count:
            return neutral(renamed_name)
    stem, _, last = name.rpartition(".")
    if stem.endswith(".adapter_layer") and last in _ADAPTER_PARTS:
        return f"{stem}.{_ADAPTER_PARTS[last]}"
    return name


def read_fairseq_adapter(file: AdapterFile, config: Wav2Vec2Ctc) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    where = f"{file.path}, language {file.language}"
    opened = tensors_of(_load(file.path)["adapter"][file.language]["model"], where=where)
    tensors = _without_leading_one(renamed(opened, neutral_name))
    check_shapes(tensors.shapes, adapter_shapes(config, len(file.vocab)), where=where)
    return tensors


def _without_leading_one(tensors: Weights) -> Weights:
    """Drop the leading axis, which fairseq reserves for several adapters of one layer."""
    shapes = {
        name: shape[1:] if ".adapter_layer." in name and shape[:1] == (1,) else shape
        for name, shape in tensors.shapes.items()
    }
    return Weights(shapes, lambda name: tensors.read(name).reshape(shapes[name]))


def _adapters(document: Mapping[str, Any], path: Path) -> dict[str, AdapterFile]:
    return {
        language: AdapterFile(language, path, "fairseq", _vocab(content, language, path))
        for language, content in sorted(document["adapter"].items())
    }


def _vocab(content: Mapping[str, Any], language: str, path: Path) -> tuple[str, ...]:
    """Return a language's tokens, from its pickled dictionary or a text file beside the `.pt`."""
    text = path.parent / "dict" / path.stem / f"{language}.txt"
    dictionary = content.get("task_state", {}).get("target_dictionary")
    symbols = getattr(dictionary, "symbols", None)
    if symbols is None and text.is_file():
        lines = text.read_text(encoding="utf-8").splitlines()
        symbols = ["<s>", "<pad>", "</s>", "<unk>", *(line.rsplit(" ", 1)[0] for line in lines)]
    if symbols is None:
        raise MmsError(f"{path} has no dictionary of {language!r}, and {text} does not exist")
    if symbols[:2] != ["<s>", "<pad>"]:
        raise MmsError(f"{path}: the dictionary of {language!r} does not begin with <s> and <pad>")
    # fairseq's blank is <s>; in transformers, whose names the bundle uses, it is <pad>.
    return ("<pad>", "<s>", *symbols[2:])
