"""Checkpoints of Omnilingual ASR with CTC: the encoder of MMS without adapters, and one head.

Two layouts: a `.pt` file of fairseq2 with a SentencePiece model beside it, and a folder of
transformers (`OmniASRForCTC`). One vocabulary of characters serves every language; its blank is
`<s>`, its word boundary the space itself.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mms_engine.bundle.manifest import MULTILINGUAL, Wav2Vec2, Wav2Vec2Ctc
from mms_engine.errors import LanguageError, MmsError
from mms_export.checkpoints.checkpoint import (
    APACHE_LICENCE,
    UNKNOWN_LICENCE,
    AdapterFile,
    Checkpoint,
    Format,
)
from mms_export.checkpoints.config import (
    OMNILINGUAL_HEADS,
    OMNILINGUAL_RELEASES,
    OMNILINGUAL_SIZES,
    is_omnilingual,
    parse_config,
)
from mms_export.checkpoints.documents import interpreting, read_json, read_model_card
from mms_export.checkpoints.files import (
    base_model,
    language_tensors,
    load_pickle,
    open_tensors,
    renamed,
    tensors_of,
)
from mms_export.checkpoints.folder import find_weights
from mms_export.checkpoints.names import adapter_shapes, base_shapes, check_shapes
from mms_export.checkpoints.pickled_config import pickled_document
from mms_export.checkpoints.selection import ALL, matching
from mms_export.checkpoints.sentencepiece import read_pieces
from mms_export.checkpoints.tokenizer import Labels, Tokenizer
from mms_export.checkpoints.transformers import read_preprocessor, read_sample_rate
from mms_export.checkpoints.weights import FloatArray, Weights

MODEL_TYPE, LLM_MODEL_TYPE = "omniasr_ctc", "omniasr"
"""`model_type` in config.json of the models with CTC, and of those with a language model."""
NORMALIZE_EPSILON = 1e-5
TOKENIZERS = {"v1": "omniASR_tokenizer.model", "v2": "omniASR_tokenizer_written_v2.model"}
_CARD = re.compile(rf"omniASR_CTC_({'|'.join(OMNILINGUAL_SIZES)})(_v2)?")
_FILES = "https://dl.fbaipublicfiles.com/mms/"
"""Where Meta publishes checkpoints and tokenizers."""
_BLANK, _PAD, _END, _UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
_SPACES = (" ", "\u2581")
"""Word boundaries: that of Omnilingual, and that of SentencePiece's own training."""
_PROJECTION = "encoder_frontend.model_dim_proj.weight"
_POSITIONS = "encoder.pos_conv_embed.conv"
_FOLDED = f"{_POSITIONS}.weight"

# Beginnings of names, and their replacements; the first that fits is applied.
FAIRSEQ2_NAMES = (
    (r"final_proj\.", "lm_head."),
    (r"encoder_frontend\.feature_extractor\.layers\.", "feature_extractor.conv_layers."),
    (r"encoder_frontend\.post_extract_layer_norm\.", "feature_projection.layer_norm."),
    (r"encoder_frontend\.model_dim_proj\.", "feature_projection.projection."),
    (r"encoder_frontend\.pos_encoder\.conv\.", f"{_POSITIONS}."),
    (r"(encoder\.layers\.\d+)\.self_attn\.output_proj\.", r"\1.attention.out_proj."),
    (r"(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.layer_norm."),
    (r"(encoder\.layers\.\d+)\.ffn_layer_norm\.", r"\1.final_layer_norm."),
    (r"(encoder\.layers\.\d+)\.ffn\.inner_proj\.", r"\1.feed_forward.intermediate_dense."),
    (r"(encoder\.layers\.\d+)\.ffn\.output_proj\.", r"\1.feed_forward.output_dense."),
)
TRANSFORMERS_NAMES = (
    (r"ctc_head\.", "lm_head."),
    (r"model\.audio_tower\.subsampling\.conv_layers\.", "feature_extractor.conv_layers."),
    (r"model\.audio_tower\.subsampling\.", "feature_projection."),
    (r"model\.audio_tower\.encode_positions\.conv\.", f"{_POSITIONS}."),
    (r"model\.audio_tower\.", "encoder."),
)


def repository_of_card(name: str) -> str:
    """Return the hub id of a model by its name in fairseq2, such as omniASR_CTC_1B_v2, or ""."""
    card = _CARD.fullmatch(name)
    if not card:
        return ""
    size, suffix = card.groups()
    return f"hf-audio/omniasr-ctc-{size.lower()}-v2" if suffix else f"facebook/omniASR-CTC-{size}"


def files_of_card(name: str) -> str:
    """Return what to download where the hub does not have a model of fairseq2, as a hint."""
    release = "v2" if name.endswith("_v2") else "v1"
    pickle = name.replace("_", "-") + ".pt"
    return (
        f"download {_FILES}{pickle} and {_FILES}{TOKENIZERS[release]} into one folder, and give "
        f"--model FOLDER/{pickle}"
    )


def fairseq2_tensors(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the state dict of a `.pt` of fairseq2's wav2vec 2.0; `None` for another file."""
    model = document.get("model", document)
    if not isinstance(model, Mapping):
        return None
    prefix = "module."  # of a model saved from distributed training
    tensors = {str(name).removeprefix(prefix): tensor for name, tensor in model.items()}
    return tensors if _PROJECTION in tensors else None


def open_fairseq2(path: Path, tensors: Mapping[str, Any], languages: str) -> Checkpoint:
    """Open a `.pt` file of Omnilingual ASR, whose tokenizer is a `.model` file beside it.

    Args:
        path: The file.
        tensors: Its content, from `fairseq2_tensors`.
        languages: Languages to export, in the syntax of `--lang`.

    Raises:
        MmsError: it is not a model with CTC, or no tokenizer fits its head.
    """
    if any(name.startswith("llama_decoder.") for name in tensors):
        raise MmsError(f"{path} {_LLM}")
    opened = renamed(tensors_of(tensors, where=str(path)), fairseq2_name)
    head = language_tensors(opened)
    if "lm_head.weight" not in head.shapes:
        raise MmsError(f"{path} has no head for CTC: a pretrained model cannot transcribe")
    weights = base_model(opened, ())
    described = pickled_document({}, weights, path)
    config = _config(described | {"num_attention_heads": OMNILINGUAL_HEADS}, where=str(path))
    size = head.shapes["lm_head.weight"][0]
    file, labels = _beside(path, size)
    return _checkpoint(
        path,
        path.stem,
        "fairseq2",
        config,
        weights,
        head,
        languages=languages,
        adapter=AdapterFile(MULTILINGUAL, (path,), "fairseq2", labels, (file,)),
        licence=APACHE_LICENCE if is_omnilingual(config, size) else UNKNOWN_LICENCE,
    )


def open_omnilingual(path: Path, *, name: str, languages: str) -> Checkpoint:
    """Open a folder of transformers with an `OmniASRForCTC`.

    Args:
        path: The folder, whose config.json has the `model_type` of Omnilingual ASR.
        name: Name of the checkpoint.
        languages: Languages to export, in the syntax of `--lang`.

    Raises:
        MmsError: a file is missing or contradicts another; the message names it.
    """
    where = path / "config.json"
    document = read_json(where)
    if document.get("model_type") == LLM_MODEL_TYPE:
        raise MmsError(f"{path} {_LLM}")
    files = find_weights(path)
    opened = _with_weight_norm(renamed(open_tensors(files), transformers_name))
    preprocessor = read_preprocessor(path)
    with interpreting(where):
        described = {
            **document["audio_config"],
            "normalize": preprocessor.get("do_normalize", True),
        }
    config = _config(described, where=str(where))
    head = language_tensors(opened)
    size = head.shapes.get("lm_head.weight", (0,))[0]
    file, labels = _of_folder(path, size, document.get("blank_token_id", 0))
    licence = APACHE_LICENCE if is_omnilingual(config, size) else UNKNOWN_LICENCE
    return _checkpoint(
        path,
        name,
        "omniasr",
        config,
        base_model(opened, ()),
        head,
        languages=languages,
        adapter=AdapterFile(MULTILINGUAL, tuple(files), "omniasr", labels, (file,)),
        licence=read_model_card(path).get("license", licence),
        sample_rate=read_sample_rate(preprocessor, path),
    )


_LLM = (
    "is an Omnilingual model with a language model as its decoder (LLM): only those with CTC can "
    "be exported, such as omniASR_CTC_1B"
)


def read_omnilingual_head(file: AdapterFile, config: Wav2Vec2) -> Weights:
    """Open the head of a checkpoint of either layout, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of a head of this model.
    """
    if file.format == "omniasr":
        opened = renamed(open_tensors(list(file.paths)), transformers_name)
    else:
        tensors = fairseq2_tensors(load_pickle(file.path)) or {}
        opened = renamed(tensors_of(tensors, where=str(file.path)), fairseq2_name)
    head = language_tensors(opened)
    check_shapes(head.shapes, adapter_shapes(config, len(file.vocab)), where=str(file.path))
    return head


def fairseq2_name(name: str) -> str:
    """Return the name of `names.base_shapes` or `adapter_shapes` for a name of fairseq2."""
    return _renamed(name, FAIRSEQ2_NAMES)


def transformers_name(name: str) -> str:
    """Return the name of `names.base_shapes` or `adapter_shapes` for one of `OmniASRForCTC`."""
    return _renamed(name, TRANSFORMERS_NAMES)


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in names:
        new, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return new
    return name


def original_name(name: str, names: tuple[tuple[str, str], ...]) -> str:
    """Return the name that a layout has for a name of `names.base_shapes` or `adapter_shapes`."""
    for pattern, replacement in names:
        groups = "(encoder\\.layers\\.\\d+)" if replacement.startswith("\\1") else ""
        ours = groups + re.escape(replacement.removeprefix("\\1"))
        if re.match(ours, name):
            theirs = pattern.replace("(encoder\\.layers\\.\\d+)", "\\1").replace("\\.", ".")
            return re.sub(f"^{ours}", theirs.replace("\\1", r"\g<1>"), name)
    return name


def _config(document: Mapping[str, Any], *, where: str) -> Wav2Vec2Ctc:
    fixed = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "model_type": "wav2vec2"}
    config = parse_config({**document, **fixed}, where=where)
    return msgspec.structs.replace(config, text="multilingual", normalize_epsilon=NORMALIZE_EPSILON)


def _checkpoint(
    path: Path,
    name: str,
    source: Format,
    config: Wav2Vec2Ctc,
    weights: Weights,
    head: Weights,
    *,
    languages: str,
    adapter: AdapterFile,
    licence: str,
    sample_rate: int = 16_000,
) -> Checkpoint:
    """Return the checkpoint of either layout, whose tensors are checked."""
    where = str(adapter.path)
    if languages != ALL and not matching(languages, [MULTILINGUAL]):
        raise LanguageError(
            f"{name} has one head for all languages: leave out --lang here, and name the language "
            "when transcribing"
        )
    check_shapes(weights.shapes, base_shapes(config), where=where)
    check_shapes(head.shapes, adapter_shapes(config, len(adapter.vocab)), where=where)
    return Checkpoint(
        name=name,
        format=source,
        path=path,
        config=config,
        weights=weights,
        weight_files=adapter.paths,
        adapters={MULTILINGUAL: adapter},
        sample_rate=sample_rate,
        licence=licence,
    )


def _with_weight_norm(tensors: Weights) -> Weights:
    """Return the positional convolution as direction and length, into which it was folded."""
    shape = tensors.shapes.get(_FOLDED)
    if shape is None:
        return tensors
    shapes = {name: own for name, own in tensors.shapes.items() if name != _FOLDED}
    shapes |= {f"{_FOLDED}_g": (1, 1, shape[-1]), f"{_FOLDED}_v": shape}

    def read(name: str) -> FloatArray:
        if name not in (f"{_FOLDED}_g", f"{_FOLDED}_v"):
            return tensors.read(name)
        folded = tensors.read(_FOLDED)
        if name.endswith("_v"):
            return folded
        length = np.sqrt(np.square(folded.astype(np.float64)).sum(axis=(0, 1), keepdims=True))
        return np.asarray(length, np.float32)

    return Weights(shapes, read)


def _beside(path: Path, size: int) -> tuple[Path, Labels]:
    """Return the tokenizer beside a `.pt` file that has as many pieces as the head rows."""
    found = {file: read_pieces(file) for file in sorted(path.parent.glob("*.model"))}
    fitting = [file for file, pieces in found.items() if len(pieces) == size]
    release = OMNILINGUAL_RELEASES.get(size)
    wanted = f"{TOKENIZERS[release]} ({release})" if release else "that of its own training"
    if not found:
        raise MmsError(
            f"{path} has no tokenizer beside it: put the SentencePiece model into {path.parent}, "
            f"{wanted}"
        )
    if len(fitting) != 1:
        sizes = ", ".join(f"{file.name} has {len(pieces)} pieces" for file, pieces in found.items())
        reason = "they belong to different models" if not fitting else "it is unclear which is its"
        raise MmsError(
            f"{path} has a head of {size} rows, {sizes}: {reason}. Put one tokenizer beside it, "
            f"{wanted}"
        )
    pieces = found[fitting[0]]
    special = [piece.text for piece in pieces if not piece.is_text]
    texts = [piece.text for piece in pieces]
    return fitting[0], _labels(texts, special, size, _BLANK, where=str(fitting[0]))


def _of_folder(path: Path, size: int, blank: object) -> tuple[Path, Labels]:
    """Return the tokenizer of a folder of transformers."""
    file = path / "tokenizer.json"
    if not file.exists():
        return _beside(path / "model.safetensors", size)
    document = read_json(file)
    with interpreting(file):
        vocab = document["model"]["vocab"]
        texts = [entry[0] for entry in vocab] if isinstance(vocab, list) else _by_id(vocab)
        added = {int(entry["id"]): entry for entry in document.get("added_tokens", ())}
        for index in sorted(added):
            token = str(added[index]["content"])
            if index < len(texts):
                texts[index] = token
            elif index == len(texts):
                texts.append(token)
        special = [str(entry["content"]) for entry in added.values() if entry.get("special")]
    if len(texts) != size:
        raise MmsError(
            f"{path} has a head of {size} rows, {file.name} has {len(texts)} tokens: they belong "
            "to different models. Copy the tokenizer from the repository of the weights"
        )
    if not isinstance(blank, int) or not 0 <= blank < size:
        raise MmsError(f"{path / 'config.json'}: blank_token_id is {blank!r}")
    return file, _labels(texts, special, size, texts[blank], where=str(file))


def _by_id(vocab: Mapping[str, int]) -> list[str]:
    tokens = sorted(vocab, key=vocab.__getitem__)
    if [vocab[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError("the ids of the vocabulary are not those from 0 on")
    return tokens


def _labels(texts: list[str], special: list[str], size: int, blank: str, *, where: str) -> Labels:
    """Return the labels of a head whose rows are pieces."""
    vocab = {text: row for row, text in enumerate(texts)}
    if len(vocab) != len(texts):
        raise MmsError(f"{where} has a piece twice: it is not the tokenizer of a CTC head")
    if blank not in vocab:
        raise MmsError(f"{where} has no piece {blank}, which is the blank of Omnilingual ASR")
    space = next((text for text in _SPACES if text in vocab), None)
    tokenizer = Tokenizer(
        roles={"bos_token": None, "eos_token": _END, "unk_token": _UNKNOWN, "pad_token": blank},
        added={},
        special=frozenset({_BLANK, _PAD, _END, _UNKNOWN, *special}),
        word_delimiter=space,
    )
    return tokenizer.labels(vocab, size, vocab[blank], where=where)
