"""The training model's weights under the names and shapes of facebook/mms-1b-all."""

import json
from pathlib import Path
from typing import Any

import torch
from examples.demo.model import KERNELS, POSITION_GROUPS, POSITION_KERNEL, STRIDES, ModelConfig
from examples.demo.vocab import NestedVocab
from safetensors.torch import load_file, save_file
from torch import Tensor

TEMPLATES = Path(__file__).parent / "templates"  # the JSON files of facebook/mms-1b-all

_ADAPTER_PARTS = {
    "norm.weight": "norm_weight",
    "norm.bias": "norm_bias",
    "linear_1.weight": "linear_1_weight",
    "linear_1.bias": "linear_1_bias",
    "linear_2.weight": "linear_2_weight",
    "linear_2.bias": "linear_2_bias",
}
_SHARED = {
    "masked_spec_embed": "masked_spec_embed",
    "feature_projection.layer_norm": "projection_norm",
    "feature_projection.projection": "projection",
    "encoder.layer_norm": "layer_norm",
    "encoder.pos_conv_embed.conv": "pos_conv",
}
_PER_LAYER = {
    "attention.out_proj": "out_proj",
    "layer_norm": "layer_norm",
    "feed_forward.intermediate_dense": "intermediate_dense",
    "feed_forward.output_dense": "output_dense",
    "final_layer_norm": "final_layer_norm",
}


def adapter_tensors(state: dict[str, Tensor], config: ModelConfig, lang: str) -> dict[str, Tensor]:
    """Tensors of adapter.{lang}.safetensors: every layer's adapter and the head."""
    index = config.languages.index(lang)
    size = config.vocab_sizes[index]
    head = {
        "lm_head.weight": state["head_weight"][index, :size].float().contiguous(),
        "lm_head.bias": state["head_bias"][index, :size].float().contiguous(),
    }
    return adapter_layers(state, config, index) | head


def adapter_layers(state: dict[str, Tensor], config: ModelConfig, index: int) -> dict[str, Tensor]:
    """Tensors of every layer's adapter of the language `index`."""
    tensors = {}
    for layer in range(config.layers):
        for theirs, ours in _ADAPTER_PARTS.items():
            name = f"wav2vec2.encoder.layers.{layer}.adapter_layer.{theirs}"
            tensor = state[f"layers.{layer}.adapter_layer.{ours}"][index]
            tensors[name] = tensor.float().contiguous()
    return tensors


def backbone_tensors(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of model.safetensors that are the same in every language."""
    tensors = {}
    for name, tensor in state.items():
        if name.startswith("feature_extractor."):
            tensors[f"wav2vec2.{name}"] = tensor
    for theirs, ours in _SHARED.items():
        _copy(state, tensors, ours, f"wav2vec2.{theirs}")
    for layer in range(config.layers):
        prefix = f"wav2vec2.encoder.layers.{layer}"
        for theirs, ours in _PER_LAYER.items():
            _copy(state, tensors, f"layers.{layer}.{ours}", f"{prefix}.{theirs}")
        for part in ("weight", "bias"):
            stacked = state[f"layers.{layer}.qkv_proj.{part}"].chunk(3)
            for letter, tensor in zip("qkv", stacked, strict=True):
                tensors[f"{prefix}.attention.{letter}_proj.{part}"] = tensor
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


def _copy(state: dict[str, Tensor], tensors: dict[str, Tensor], ours: str, theirs: str) -> None:
    """Copy the tensor `ours`, or all those below it, under the name `theirs`."""
    for name, tensor in state.items():
        if name == ours or name.startswith(f"{ours}."):
            tensors[theirs + name.removeprefix(ours)] = tensor


def config_json(config: ModelConfig) -> dict[str, Any]:
    """config.json of facebook/mms-1b-all with this model's sizes."""
    template = json.loads((TEMPLATES / "config.json").read_text())
    template.update(
        hidden_size=config.hidden,
        output_hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        adapter_attn_dim=config.adapter_rank,
        conv_dim=[config.conv_channels] * len(KERNELS),
        conv_kernel=list(KERNELS),
        conv_stride=list(STRIDES),
        num_conv_pos_embeddings=POSITION_KERNEL,
        num_conv_pos_embedding_groups=POSITION_GROUPS,
        vocab_size=dict(zip(config.languages, config.vocab_sizes, strict=True)).get("eng", 32),
    )
    return dict(template)


def write_checkpoint(
    folder: Path, state: dict[str, Tensor], config: ModelConfig, vocab: NestedVocab
) -> None:
    """Write a folder that transformers loads as it loads facebook/mms-1b-all."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt"}
    with torch.no_grad():
        english = adapter_tensors(state, config, "eng")
        backbone = backbone_tensors(state, config)
        save_file({**backbone, **english}, folder / "model.safetensors", metadata)
        for lang in config.languages:
            adapter = adapter_tensors(state, config, lang)
            save_file(adapter, folder / f"adapter.{lang}.safetensors", metadata)
    write_json(folder / "config.json", config_json(config))
    write_json(folder / "vocab.json", vocab)
    for name in ("preprocessor_config", "special_tokens_map", "tokenizer_config"):
        source = TEMPLATES / f"{name}.json"
        (folder / f"{name}.json").write_bytes(source.read_bytes())


def read_checkpoint(folder: Path, state: dict[str, Tensor], config: ModelConfig) -> None:
    """Copy the weights of a folder written by `write_checkpoint` into a model's state dict."""
    with torch.no_grad():
        copy_into(backbone_tensors(state, config), load_file(folder / "model.safetensors"))
        for lang in config.languages:
            adapter = load_file(folder / f"adapter.{lang}.safetensors")
            copy_into(adapter_tensors(state, config, lang), adapter)


def read_convolutions(folder: Path, state: dict[str, Tensor]) -> None:
    """Copy the convolutions of a checkpoint into the state dict of a `FeatureExtractor`."""
    loaded = load_file(folder / "model.safetensors")
    names = {f"wav2vec2.feature_extractor.{name}": tensor for name, tensor in state.items()}
    with torch.no_grad():
        copy_into(names, loaded)


def copy_into(views: dict[str, Tensor], loaded: dict[str, Tensor]) -> None:
    """Fill `views`, which share the memory of a float32 model, with what was loaded."""
    for name, view in views.items():
        view.copy_(loaded[name])


def write_json(path: Path, content: object) -> None:
    """Write a document as the hub's are written."""
    text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=path.stem == "config")
    path.write_text(text + "\n", encoding="utf-8")
