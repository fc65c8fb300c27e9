"""Checkpoints of fairseq: one `.pt` file with the base model and every language, or one head.

Those of language identification are exported as transformers runs the same weights
(facebook/mms-lid-126): without the activation that fairseq has between projector and classifier.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, AdapterFile, Checkpoint
from mms_export.checkpoints.config import parse_classifier_config
from mms_export.checkpoints.files import (
    base_model,
    language_tensors,
    load_pickle,
    renamed,
    tensors_of,
)
from mms_export.checkpoints.names import (
    adapter_shapes,
    base_shapes,
    check_shapes,
    classifier_shapes,
    neutral,
)
from mms_export.checkpoints.pickled_config import find_option, pickled_config, pickled_document
from mms_export.checkpoints.selection import whole_only
from mms_export.checkpoints.single import single_language
from mms_export.checkpoints.tokenizer import Labels
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
_LABELS = "dict.lang.txt"
_CLASSIFIER = "pooling_layer.projection.weight"
_HEADS = {
    "w2v_encoder.proj.": "lm_head.",
    "pooling_layer.linear.": "projector.",
    "pooling_layer.projection.": "classifier.",
}
_ADAPTER_PARTS = {
    "W_a": "linear_1.weight",
    "b_a": "linear_1.bias",
    "W_b": "linear_2.weight",
    "b_b": "linear_2.bias",
    "ln_W": "norm.weight",
    "ln_b": "norm.bias",
}


def open_fairseq(path: Path, languages: str) -> Checkpoint:
    """Open a `.pt` file: mms1b_all.pt with its adapters, a fine-tuned model without, mms1b_l126.pt.

    Args:
        path: The file.
        languages: Languages to export, in the syntax of `--lang`.

    Raises:
        MmsError: the file is not a checkpoint of wav2vec 2.0 with CTC or a classifier.
    """
    document = load_fairseq(path)
    if not isinstance(document.get("model"), dict):
        raise MmsError(f"{path} has no 'model': it is not a checkpoint of fairseq's MMS ASR")
    if _CLASSIFIER in document["model"]:
        return _open_classifier(document, path, languages)
    opened = renamed(tensors_of(document["model"], where=str(path)), neutral_name)
    tensors = base_model(opened, _IGNORED)
    adapters = document.get("adapter")
    if not isinstance(adapters, dict):
        symbols = _symbols(document, path, "dict.ltr.txt")
        head = language_tensors(opened)
        config = pickled_config(document, tensors, path)
        check_shapes(tensors.shapes, base_shapes(config), where=str(path))
        return single_language(
            path, "fairseq", config, tensors, head, symbols=symbols, languages=languages
        )
    config = pickled_config(document, tensors, path, rank=_rank(adapters, path))
    check_shapes(tensors.shapes, base_shapes(config), where=str(path))
    return Checkpoint(
        name=path.stem,
        format="fairseq",
        path=path,
        config=config,
        weights=tensors,
        weight_files=(path,),
        adapters=_adapters(adapters, path),
        sample_rate=16000,
        licence=MMS_LICENCE,
    )


def _open_classifier(document: Mapping[str, Any], path: Path, languages: str) -> Checkpoint:
    """Open a model of language identification."""
    whole_only(path.stem, "a model of language identification", languages)
    options = document.get("cfg") or document.get("args")
    pooling = find_option(options, "pooling", default="mean")
    if pooling != "mean":
        raise MmsError(f"{path}: pooling is {pooling!r}, an MMS checkpoint has 'mean'")
    opened = renamed(tensors_of(document["model"], where=str(path)), neutral_name)
    opened = _without_leading_one(opened)
    shapes = {name: s for name, s in opened.shapes.items() if not name.startswith(_IGNORED)}
    inner, _ = shapes.get("encoder.layers.0.adapter_layer.linear_1.weight", (0, 0))
    labels = _labels_of_classifier(document, path, shapes["classifier.weight"][0])
    described = pickled_document(document, opened, path, rank=inner) | {
        "classifier_proj_size": shapes["classifier.weight"][1],
        "id2label": dict(enumerate(labels)),
    }
    config = parse_classifier_config(described, where=str(path))
    check_shapes(shapes, classifier_shapes(config), where=str(path))
    activation = find_option(options, "activation_fn", default="gelu")
    warning = (
        f"{path}: fairseq applies {activation} between the projector and the classifier, "
        "facebook/mms-lid-* does not; the graph follows the latter"
    )
    return Checkpoint(
        name=path.stem,
        format="fairseq",
        path=path,
        config=config,
        weights=Weights(shapes, opened.read),
        weight_files=(path,),
        adapters={},
        warnings=() if activation == "linear" else (warning,),
        sample_rate=16000,
        licence=MMS_LICENCE,
    )


def _labels_of_classifier(document: Mapping[str, Any], path: Path, count: int) -> list[str]:
    """Return the labels in the order of the outputs; the dictionary has no special tokens."""
    dictionary = (document.get("task_state") or {}).get("target_dictionary")
    labels: list[str] | None = getattr(dictionary, "symbols", None)
    file = path.parent / _LABELS
    if labels is None and file.is_file():
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        labels = [line.split()[0] for line in lines if line.strip()]
    if labels is None:
        raise MmsError(
            f"{path} does not name the languages of its {count} outputs: put {_LABELS} of the same "
            "model beside it (fairseq publishes it as dict/l126/dict.lang.txt)"
        )
    if len(labels) != count:
        raise MmsError(f"{path} has {count} outputs, its dictionary {len(labels)} labels")
    return labels


def _rank(adapters: Mapping[str, Any], path: Path) -> int:
    """Return the size of the adapters' inner layer."""
    try:
        tensors = next(iter(adapters.values()))["model"]
        rank = next(
            t.shape[-2] for name, t in tensors.items() if name.endswith("adapter_layer.W_a")
        )
    except (KeyError, StopIteration, TypeError, IndexError, AttributeError) as error:
        raise MmsError(f"{path} has adapters that are not those of MMS ASR: {error!r}") from error
    return int(rank)


@functools.cache
def load_fairseq(path: Path) -> Mapping[str, Any]:
    """Return the content of a `.pt` file of fairseq or torchaudio.

    Cached: a file may hold every language, and indexing its 340,000 tensors takes seconds.

    Raises:
        MmsError: the file is damaged, or names code to run.
    """
    return load_pickle(path, _INERT)


def neutral_name(name: str) -> str:
    """Return the name of `names.base_shapes` or `adapter_shapes` for a fairseq name."""
    for prefix, replacement in _HEADS.items():
        if name.startswith(prefix):
            return name.replace(prefix, replacement)
    name = name.removeprefix(_MODEL)
    for pattern, replacement in _RENAMES:
        renamed_name, count = re.subn(f"^{pattern}$", replacement, name)
        if count:
            return neutral(renamed_name)
    stem, _, last = name.rpartition(".")
    if stem.endswith(".adapter_layer") and last in _ADAPTER_PARTS:
        return f"{stem}.{_ADAPTER_PARTS[last]}"
    return name


def read_fairseq_adapter(file: AdapterFile, config: Wav2Vec2) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    where = f"{file.path}, language {file.language}"
    document = load_fairseq(file.path)
    own = (
        document["adapter"][file.language]["model"] if "adapter" in document else document["model"]
    )
    opened = renamed(tensors_of(own, where=where), neutral_name)
    tensors = _without_leading_one(language_tensors(opened))
    check_shapes(tensors.shapes, adapter_shapes(config, len(file.vocab)), where=where)
    return tensors


def _without_leading_one(tensors: Weights) -> Weights:
    """Drop the leading axis, which fairseq reserves for several adapters of one layer."""
    shapes = {
        name: shape[1:] if ".adapter_layer." in name and shape[:1] == (1,) else shape
        for name, shape in tensors.shapes.items()
    }
    return Weights(shapes, lambda name: tensors.read(name).reshape(shapes[name]))


def _adapters(adapters: Mapping[str, Any], path: Path) -> dict[str, AdapterFile]:
    return {
        language: AdapterFile(language, (path,), "fairseq", _labels(content, language, path))
        for language, content in sorted(adapters.items())
    }


def _labels(content: Mapping[str, Any], language: str, path: Path) -> Labels:
    """Return a language's tokens, from its pickled dictionary or a text file beside the `.pt`."""
    text = f"dict/{path.stem}/{language}.txt"
    symbols = _symbols(content, path, text)
    if symbols is None:
        raise MmsError(
            f"{path} has no dictionary of {language!r}, and {path.parent / text} does not exist"
        )
    if symbols[:2] != ["<s>", "<pad>"]:
        raise MmsError(f"{path}: the dictionary of {language!r} does not begin with <s> and <pad>")
    # fairseq's blank is <s>; in transformers, whose names the bundle uses, it is <pad>.
    return Labels.named(("<pad>", "<s>", *symbols[2:]))


def _symbols(content: Mapping[str, Any], path: Path, text: str) -> list[str] | None:
    """Return the tokens of the pickled dictionary in `content`, or of a text file beside it."""
    dictionary = (content.get("task_state") or {}).get("target_dictionary")
    symbols: list[str] | None = getattr(dictionary, "symbols", None)
    file = path.parent / text
    if symbols is None and file.is_file():
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        symbols = ["<s>", "<pad>", "</s>", "<unk>", *(line.rsplit(" ", 1)[0] for line in lines)]
    return symbols
