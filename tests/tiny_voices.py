"""Random voices of VITS, tiny or of any size, in the layout of the hub."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import VitsConfig, VitsModel

CODES = ("eng", "swh", "yor")
PRECISIONS = ("fp32", "fp16", "int8")
LETTERS = " abcdefghijklmnopqrstuvwxyz'-áéíóúñçàèìòùâêîôû"
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "ffn_dim": 24,
    "flow_size": 12,
    "spectrogram_bins": 9,
    "upsample_initial_channel": 32,
    "upsample_rates": [4, 2],
    "upsample_kernel_sizes": [8, 4],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "prior_encoder_num_flows": 4,
    "prior_encoder_num_wavenet_layers": 2,
    "posterior_encoder_num_wavenet_layers": 1,
    "depth_separable_num_layers": 2,
}
"""Sizes of a tiny voice."""
STRANGER = TINY | {
    "ffn_dim": 32,
    "hidden_size": 12,
    "upsample_rates": [8],
    "upsample_kernel_sizes": [16],
}
"""Sizes of a voice that needs graphs of its own."""


def voice_model(vocab_size: int, seed: int = 0, **sizes: object) -> VitsModel:
    """Return a model whose every weight has an effect, and whose samples are not saturated."""
    torch.manual_seed(seed)
    model = VitsModel(VitsConfig(vocab_size=vocab_size, **sizes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith(".weight"):
                parameter.uniform_(0.5, 1.5)
            elif name.endswith(("bias", "translate", "log_scale")):
                parameter.uniform_(-0.1, 0.1)
            elif name.endswith("original0"):
                parameter.mul_(torch.empty_like(parameter).uniform_(0.5, 1.5))
        model.decoder.conv_post.weight.mul_(0.1)
    return model


def make_voice(
    folder: Path, code: str, *, letters: str = LETTERS, seed: int = 0, **sizes: object
) -> Path:
    """Write a voice as facebook/mms-tts-{code} has it and return its folder."""
    model = voice_model(len(letters), seed, **sizes)
    model.save_pretrained(folder)
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    tokenizer = {
        "add_blank": True,
        "is_uroman": False,
        "language": code,
        "normalize": True,
        "phonemize": False,
        "tokenizer_class": "VitsTokenizer",
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def make_tiny_voices(folder: Path, codes: Sequence[str]) -> Path:
    """Write tiny voices with vocabularies of different sizes, a folder each."""
    for index, code in enumerate(codes):
        letters = LETTERS[: 20 + index]
        make_voice(folder / code, code, letters=letters, seed=index, **TINY)
    return folder


_FAIRSEQ = (
    ("text_encoder.embed_tokens.", "enc_p.emb."),
    ("text_encoder.project.", "enc_p.proj."),
    ("text_encoder.encoder.layers.", "enc_p.encoder."),
    ("duration_predictor.", "dp."),
    ("decoder.upsampler.", "dec.ups."),
    ("decoder.", "dec."),
)
_LAYER = {
    "attention": "attn_layers",
    "layer_norm": "norm_layers_1",
    "final_layer_norm": "norm_layers_2",
    "feed_forward": "ffn_layers",
}
_PARTS = {
    "q_proj": "conv_q",
    "k_proj": "conv_k",
    "v_proj": "conv_v",
    "out_proj": "conv_o",
    "wavenet": "enc",
    "conv_dds": "convs",
    "convs_dilated": "convs_sep",
    "convs_pointwise": "convs_1x1",
    "translate": "m",
    "log_scale": "logs",
}


def fairseq_name(name: str) -> str:
    """Return the name in VITS of a tensor of transformers."""
    for ours, theirs in _FAIRSEQ:
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
            break
    parts = [_PARTS.get(part, part) for part in name.split(".")]
    if parts[:2] == ["enc_p", "encoder"]:
        parts[2:4] = [_LAYER[parts[3]], parts[2]]
    if parts[0] in ("flow", "dp"):
        renames = {"conv_pre": "pre", "conv_post": "post", "conv_proj": "proj"}
        parts = [renames.get(part, part) for part in parts]
        if parts[1] == "flows":
            index = int(parts[2])
            parts[2] = str(2 * index if parts[0] == "flow" else max(0, 2 * index - 1))
    if ("norm" in parts[-3] or "norm" in parts[-2]) and parts[-1] in ("weight", "bias"):
        parts[-1] = {"weight": "gamma", "bias": "beta"}[parts[-1]]
    return ".".join(parts)


def as_fairseq(voice: Path, folder: Path) -> Path:
    """Write a voice in fairseq's layout, and its decoder's weights, changed, in both."""
    folder.mkdir(parents=True)
    document = json.loads((voice / "config.json").read_text())
    tensors, folded = {}, {}
    for name, tensor in VitsModel.from_pretrained(voice).state_dict().items():
        if name.startswith("posterior_encoder") or ".post_" in name:
            continue
        for ours, theirs in (("original0", "weight_g"), ("original1", "weight_v")):
            name = name.replace(f"parametrizations.weight.{ours}", theirs)
        if ".attention." in name and name.endswith("proj.weight"):
            tensor = tensor[..., None]
        if name.startswith(("decoder.upsampler", "decoder.resblocks")) and name.endswith("weight"):
            norm = torch.linalg.vector_norm(tensor, dim=(1, 2), keepdim=True)
            direction, scale = tensor * 1.7, norm * 1.1
            folded[name] = torch._weight_norm(direction, scale, 0).contiguous()
            tensors[f"{fairseq_name(name)}_v"] = direction
            tensors[f"{fairseq_name(name)}_g"] = scale
        else:
            tensors[fairseq_name(name)] = tensor.contiguous()
    # transformers' conversion folds the weight norm of the decoder.
    path = voice / "model.safetensors"
    save_file(load_file(path) | folded, path, metadata={"format": "pt"})
    torch.save({"model": tensors, "iteration": 7}, folder / "G_100000.pth")
    (folder / "G_99.pth").write_bytes(b"an earlier one")
    model = {
        "inter_channels": document["flow_size"],
        "hidden_channels": document["hidden_size"],
        "filter_channels": document["ffn_dim"],
        "n_heads": document["num_attention_heads"],
        "n_layers": document["num_hidden_layers"],
        "kernel_size": document["ffn_kernel_size"],
        "resblock": "1",
    }
    same = (
        "resblock_kernel_sizes",
        "resblock_dilation_sizes",
        "upsample_rates",
        "upsample_kernel_sizes",
        "upsample_initial_channel",
    )
    model |= {key: document[key] for key in same}
    data = {"training_files": "train.ltr", "sampling_rate": 16000, "add_blank": True}
    config = {"train": {}, "data": data, "model": model}
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = json.loads((voice / "vocab.json").read_text())
    (folder / "vocab.txt").write_text("".join(f"{letter}\n" for letter in vocabulary))
    return folder
