"""Random voices of VITS, tiny or of any size, in the layout of the hub."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import VitsConfig, VitsModel

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
