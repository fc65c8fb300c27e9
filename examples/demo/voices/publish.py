"""Turn a training state into a voice folder in the layout of facebook/mms-tts-eng.

python -m examples.demo.voices.publish [--state FILE] [--out FOLDER]
"""

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
import torch
from examples.demo.publish import replace_folder
from examples.demo.voices.phonemes import phoneme_map
from examples.demo.voices.prepare import SPEAKING_RATE, read_by_teacher
from examples.demo.voices.student import STUDENT_SIZES
from examples.demo.voices.teacher import (
    VOICES,
    calibrate_pairs,
    copy_weights,
    fetch_teacher,
    load_teacher,
    read_weights,
)
from examples.demo.voices.text import HERE, VOCABULARY, training_sentences
from safetensors.torch import save_file
from torch import Tensor
from transformers import VitsConfig, VitsModel

logger = logging.getLogger(__name__)

VOICE = HERE / "eng"
CALIBRATED_SENTENCES = 40
TOKENIZER: dict[str, Any] = {
    "add_blank": True,
    "clean_up_tokenization_spaces": True,
    "is_uroman": False,
    "language": "eng",
    "model_max_length": 1000000000000000019884624838656,
    "normalize": True,
    "pad_token": next(iter(VOCABULARY)),  # id 0, as on the hub
    "phonemize": False,
    "tokenizer_class": "VitsTokenizer",
    "unk_token": "<unk>",
    "verbose": True,
}


class _NoDecoder(torch.nn.Module):
    """A placeholder for a decoder that need not run."""

    def forward(self, latents: Tensor, _: Tensor | None) -> Tensor:
        """Return one channel in place of samples."""
        return latents[:, :1]


@torch.inference_mode()
def teacher_latents(count: int) -> list[Tensor]:
    """Return what enters the decoder, [1, D, frames], for sentences that the teacher reads."""
    torch.manual_seed(0)
    teacher, ids = load_teacher(), phoneme_map(fetch_teacher())
    teacher.decoder = _NoDecoder()
    rows = [read_by_teacher(text, ids)[1] for text in training_sentences()[:count]]
    return [teacher(torch.tensor([row]), speaking_rate=SPEAKING_RATE).spectrogram for row in rows]


def build_voice(state: Path, *, averaged: bool = True) -> VitsModel:
    """Return the voice of a training state, with the flow and the decoder of the teacher."""
    torch.manual_seed(0)
    saved = torch.load(state, map_location="cpu", weights_only=True)
    model = VitsModel(VitsConfig(**STUDENT_SIZES)).eval()
    weights = read_weights(fetch_teacher())
    copy_weights(model, {k: v for k, v in weights.items() if k.startswith(("flow.", "dec."))})
    trained = saved["average" if averaged else "model"]
    unknown = model.load_state_dict(trained, strict=False).unexpected_keys
    if unknown:
        raise ValueError(f"{state} holds {', '.join(unknown)}, which are no weights of a voice")
    calibrate_pairs(model, teacher_latents(CALIBRATED_SENTENCES))
    with torch.no_grad():  # in the layout, but not in use: nothing that looks trained
        for parameter in model.posterior_encoder.parameters():
            parameter.zero_()
    return model


def write_voice(folder: Path, model: VitsModel) -> None:
    """Write weights in half precision, config, vocabulary and the tokenizer's settings."""
    weights = {name: weight.half().contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    # Loaded in float32, as the hub's voices are.
    config = {**model.config.to_dict(), "architectures": ["VitsModel"], "dtype": "float32"}
    config.pop("_name_or_path", None)
    settings = {
        "config.json": config,
        "vocab.json": VOCABULARY,
        "tokenizer_config.json": TOKENIZER,
        "special_tokens_map.json": {key: TOKENIZER[key] for key in ("pad_token", "unk_token")},
    }
    for name, content in settings.items():
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=VOICES / "state.pt")
@click.option("--out", type=click.Path(path_type=Path), default=VOICE)
@click.option("--last", is_flag=True, help="The last weights instead of their running average.")
def main(state: Path, out: Path, *, last: bool) -> None:
    """Write the voice folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.nice(10)
    torch.set_num_threads(1)
    model = build_voice(state, averaged=not last)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=".publish-"))
    try:
        write_voice(scratch, model)
        for file in scratch.iterdir():
            file.chmod(0o644)
        replace_folder(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    size = sum(file.stat().st_size for file in out.iterdir())
    click.echo(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
