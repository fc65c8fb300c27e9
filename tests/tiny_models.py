"""Tiny random MMS checkpoints in the layout of the hub, of a few kilobytes."""

import argparse
import dataclasses
import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
)

LANGUAGES = {"eng": 9, "swh": 7, "uzb-script_latin": 12}
"""Vocabulary size of each language, with the special tokens."""
LID_LABELS = ("ara", "eng", "swh", "cmn", "fra", "deu", "yor", "hin")
"""Labels in the order of the classifier's outputs, not sorted."""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")


@dataclass(frozen=True)
class TinyOptions:
    """Sizes of a tiny checkpoint."""

    languages: tuple[tuple[str, int], ...] = tuple(LANGUAGES.items())
    hidden_size: int = 32
    layers: int = 2
    heads: int = 4
    seed: int = 0
    adapter: int | None = 4
    """Size of the adapters' inner layer; `None` for a model without adapters."""
    normalize: bool = True


def tiny_config(options: TinyOptions) -> Wav2Vec2Config:
    """Return a configuration that differs from facebook/mms-1b-all only in its sizes."""
    return Wav2Vec2Config(
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=2 * options.hidden_size,
        conv_dim=[16] * 7,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        adapter_attn_dim=options.adapter,
        vocab_size=options.languages[0][1],
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def tiny_vocab(language: str, size: int) -> dict[str, int]:
    """Return `size` tokens and their ids; each language has letters of its own."""
    first = 0x61 + 7 * sum(map(ord, language)) % 13
    letters = [chr(first + index) for index in range(size - len(SPECIAL))]
    return {token: index for index, token in enumerate([*SPECIAL, *letters])}


def tiny_model(options: TinyOptions) -> Wav2Vec2ForCTC:
    """Return a model whose weights, norms and biases are all random, so that each has an effect."""
    torch.manual_seed(options.seed)
    model = Wav2Vec2ForCTC(tiny_config(options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _randomize(name, parameter)
    return model


def _randomize(name: str, parameter: torch.Tensor) -> None:
    if name.endswith(("norm.weight", "original0")):
        parameter.uniform_(0.5, 1.5)
    elif parameter.ndim == 1:
        parameter.normal_(0, 0.1)
    else:
        fan_in = parameter[0].numel()
        parameter.normal_(0, 1.5 * fan_in**-0.5)


def make_tiny(folder: Path, options: TinyOptions | None = None) -> Path:
    """Write a random checkpoint to `folder` and return it."""
    options = options or TinyOptions()
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model(options)
    model.save_pretrained(folder)
    languages = dict(options.languages)
    vocabs = {language: tiny_vocab(language, size) for language, size in languages.items()}
    _write_json(folder / "vocab.json", vocabs)
    for index, (language, size) in enumerate(languages.items()):
        save_file(
            tiny_adapter(model, size, seed=index + 1), folder / f"adapter.{language}.safetensors"
        )
    _write_tokenizer(folder, options.languages[0][0], normalize=options.normalize)
    return folder


def make_plain(folder: Path, options: TinyOptions) -> Path:
    """Write a random `Wav2Vec2ForCTC` without adapters to `folder` and return it."""
    options = dataclasses.replace(options, adapter=None)
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model(options)
    language, size = options.languages[0]
    torch.manual_seed(1)
    with torch.no_grad():  # all tokens win, the blank more often
        model.lm_head.weight.normal_(0, 8 * options.hidden_size**-0.5)
        model.lm_head.bias.zero_()[0] = 12
    model.save_pretrained(folder)
    _write_json(folder / "vocab.json", tiny_vocab(language, size))
    _write_tokenizer(folder, None, normalize=options.normalize)
    return folder


def make_tiny_lid(
    folder: Path, labels: tuple[str, ...] = LID_LABELS, options: TinyOptions | None = None
) -> Path:
    """Write a random `Wav2Vec2ForSequenceClassification` to `folder` and return it."""
    options = options or TinyOptions()
    config = tiny_config(options)
    config.classifier_proj_size = 24
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: row for row, label in enumerate(labels)}
    torch.manual_seed(options.seed)
    model = Wav2Vec2ForSequenceClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _randomize(name, parameter)
        # Pooling leaves little of what differs between recordings; this makes it count.
        model.classifier.weight.mul_(8)
        model.projector.bias.normal_(0, 1)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    _write_preprocessor(folder, normalize=options.normalize)
    return folder


def make_tiny_pretrained(
    folder: Path, options: TinyOptions | None = None, *, is_bare: bool = False
) -> Path:
    """Write a random `Wav2Vec2ForPreTraining`, or a bare `Wav2Vec2Model`, and return the folder."""
    options = options or TinyOptions(adapter=None)
    torch.manual_seed(options.seed)
    kind = Wav2Vec2Model if is_bare else Wav2Vec2ForPreTraining
    model = kind(tiny_config(options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _randomize(name, parameter)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    _write_preprocessor(folder, normalize=options.normalize)
    return folder


def tiny_adapter(model: Wav2Vec2ForCTC, vocab_size: int, *, seed: int) -> dict[str, torch.Tensor]:
    """Return random weights of one language, under the names of the hub."""
    torch.manual_seed(seed)
    hidden = model.config.hidden_size
    tensors = {
        f"wav2vec2.encoder.layers.{name}": torch.empty_like(parameter)
        for name, parameter in model.wav2vec2.encoder.layers.named_parameters()
        if ".adapter_layer." in name
    }
    tensors["lm_head.weight"] = torch.empty(vocab_size, hidden)
    tensors["lm_head.bias"] = torch.empty(vocab_size)
    for name, tensor in tensors.items():
        _randomize(name, tensor)
    # A few tokens and the blank dominate, as in a trained head; among similar scores rounding would
    # decide the most likely token.
    tensors["lm_head.weight"] *= 4 / torch.arange(vocab_size).clamp(min=1)[:, None]
    tensors["lm_head.weight"][0] *= 0.1
    tensors["lm_head.bias"][0] += 8
    return tensors


def make_tiny_fairseq(path: Path, hub: Path) -> Path:
    """Write the checkpoint in folder `hub` as a fairseq `.pt` file, and return its path."""
    base = load_file(hub / "model.safetensors")
    vocabs = json.loads((hub / "vocab.json").read_text())
    adapters = {
        language: {
            "model": _fairseq_tensors(load_file(hub / f"adapter.{language}.safetensors")),
            "task_state": {"target_dictionary": _fairseq_dictionary(vocab)},
        }
        for language, vocab in vocabs.items()
    }
    config = {"model": {"w2v_args": {"model": _fairseq_options(hub)}}, "task": {"normalize": True}}
    torch.save({"cfg": config, "model": _fairseq_tensors(base), "adapter": adapters}, path)
    return path


def make_tiny_fairseq_lid(path: Path, hub: Path, **options: object) -> Path:
    """Write the classifier in folder `hub` as a fairseq `.pt` file, and return its path.

    `options` are of the model, such as `activation_fn`.
    """
    labels = json.loads((hub / "config.json").read_text())["id2label"]
    dictionary = _fairseq_dictionary({})
    dictionary.symbols = [labels[str(row)] for row in range(len(labels))]
    model = {"w2v_args": {"model": _fairseq_options(hub)}, "pooling": "mean", **options}
    document = {
        "cfg": {"model": model, "task": {"normalize": True}},
        "model": _fairseq_tensors(load_file(hub / "model.safetensors")),
        "task_state": {"target_dictionary": dictionary},
    }
    torch.save(document, path)
    return path


def _fairseq_options(hub: Path) -> argparse.Namespace:
    return argparse.Namespace(
        conv_feature_layers="[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]",
        encoder_attention_heads=json.loads((hub / "config.json").read_text())[
            "num_attention_heads"
        ],
        layer_norm_first=True,
        activation_fn="gelu",
    )


def _fairseq_tensors(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        new = name
        for ours, theirs in _FAIRSEQ_NAMES:
            new = new.replace(ours, theirs)
        renamed[new] = tensor[None] if ".adapter_layer." in name else tensor
    return renamed


_FAIRSEQ_NAMES = (
    ("lm_head", "w2v_encoder.proj"),
    ("projector", "pooling_layer.linear"),
    ("classifier", "pooling_layer.projection"),
    ("wav2vec2.", "w2v_encoder.w2v_model."),
    ("w2v_model.feature_projection.layer_norm", "w2v_model.layer_norm"),
    ("w2v_model.feature_projection.projection", "w2v_model.post_extract_proj"),
    ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
    ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
    ("pos_conv_embed.conv", "pos_conv.0"),
    (".conv.weight", ".0.weight"),
    (".conv.bias", ".0.bias"),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense", ".fc1"),
    (".feed_forward.output_dense", ".fc2"),
    (".adapter_layer.linear_1.weight", ".adapter_layer.W_a"),
    (".adapter_layer.linear_1.bias", ".adapter_layer.b_a"),
    (".adapter_layer.linear_2.weight", ".adapter_layer.W_b"),
    (".adapter_layer.linear_2.bias", ".adapter_layer.b_b"),
    (".adapter_layer.norm.weight", ".adapter_layer.ln_W"),
    (".adapter_layer.norm.bias", ".adapter_layer.ln_b"),
    ("masked_spec_embed", "mask_emb"),
    *(
        (f"encoder.layers.{i}.layer_norm", f"encoder.layers.{i}.self_attn_layer_norm")
        for i in range(9)
    ),
    *((f"conv_layers.{i}.layer_norm", f"conv_layers.{i}.2.1") for i in range(7)),
)


def _fairseq_dictionary(vocab: dict[str, int]) -> object:
    """Return an object that pickles as a fairseq Dictionary, without fairseq."""
    module = types.ModuleType("fairseq.data.dictionary")
    kind = type("Dictionary", (), {"__module__": module.__name__})
    module.Dictionary = kind
    sys.modules.setdefault("fairseq", types.ModuleType("fairseq"))
    sys.modules.setdefault("fairseq.data", types.ModuleType("fairseq.data"))
    dictionary = sys.modules.setdefault(module.__name__, module).Dictionary()
    dictionary.symbols = ["<s>", "<pad>", *sorted(vocab, key=vocab.__getitem__)[2:]]
    return dictionary


def _write_tokenizer(folder: Path, language: str | None, *, normalize: bool) -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": language, **special}
    tokenizer |= {"word_delimiter_token": "|", "do_lower_case": False}
    _write_json(folder / "tokenizer_config.json", tokenizer)
    _write_json(folder / "special_tokens_map.json", special)
    _write_preprocessor(folder, normalize=normalize)


def _write_preprocessor(folder: Path, *, normalize: bool) -> None:
    _write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": normalize,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0,
            "return_attention_mask": True,
            "sampling_rate": 16000,
        },
    )


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
