"""Have the teacher read the training sentences; keep what its text side says of each phoneme.

    python -m examples.demo.voices.prepare [--shards N]

A shard holds a thousand sentences, sorted by length: means and log deviations of the prior, and
durations in frames. The flow and the decoder are never run, so an hour of speech takes a minute.
Shards that are there already are left as they are.
"""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from examples.demo.model import mixed_precision
from examples.demo.voices.phonemes import phoneme_ids, phoneme_map, phonemize
from examples.demo.voices.teacher import VOICES, fetch_teacher, load_teacher
from examples.demo.voices.text import training_sentences
from safetensors.torch import save_file
from torch import Tensor
from transformers import VitsModel

logger = logging.getLogger(__name__)

SHARD_SENTENCES, BATCH = 1000, 25
SPEAKING_RATE, DURATION_NOISE = 0.9, 0.5  # a little slower and more even than by itself


def read_by_teacher(text: str, ids: dict[str, int]) -> tuple[str, list[int]]:
    """Return the phonemes and phoneme ids of a sentence, which ends with a full stop."""
    symbols = phonemize(f"{text}.")
    return symbols, phoneme_ids(symbols, ids)


@torch.inference_mode()
def teacher_prior(teacher: VitsModel, batch: list[list[int]]) -> Iterator[tuple[Tensor, ...]]:
    """Yield means [T, D], log deviations [T, D] and durations [T] of each row of phoneme ids."""
    lengths = [len(row) for row in batch]
    ids = torch.zeros(len(batch), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, found in enumerate(batch):
        ids[row, : len(found)] = torch.tensor(found)
        mask[row, : len(found)] = 1
    padding = mask[..., None].float()
    with mixed_precision():
        text = teacher.text_encoder(ids, padding_mask=padding, attention_mask=mask)
    log_durations = teacher.duration_predictor(
        text.last_hidden_state.float().transpose(1, 2),
        padding.transpose(1, 2),
        reverse=True,
        noise_scale=DURATION_NOISE,
    )[:, 0]
    durations = torch.ceil(log_durations.exp() / SPEAKING_RATE)
    for row, length in enumerate(lengths):
        yield (
            text.prior_means[row, :length],
            text.prior_log_variances[row, :length],
            durations[row, :length],
        )


def write_shard(path: Path, sentences: list[str], teacher: VitsModel, ids: dict[str, int]) -> None:
    """Write one shard: sentences by length, their tensors one after the other."""
    torch.manual_seed(int(path.stem))
    sentences = sorted(sentences, key=lambda text: (len(text), text))
    read = [read_by_teacher(text, ids) for text in sentences]
    parts: list[tuple[Tensor, ...]] = []
    for first in range(0, len(read), BATCH):
        parts += teacher_prior(teacher, [row for _, row in read[first : first + BATCH]])
    means, log_deviations, durations = (torch.cat(column) for column in zip(*parts, strict=True))
    tensors = {
        "means": means.half(),
        "log_deviations": log_deviations.half(),
        "durations": durations.to(torch.int16),
        "lengths": torch.tensor([len(row) for _, row in read], dtype=torch.int32),
    }
    metadata = {
        "sentences": json.dumps(sentences),
        "phonemes": json.dumps([symbols for symbols, _ in read]),
        "ids": json.dumps([row for _, row in read]),
    }
    scratch = path.with_suffix(".tmp")
    save_file(tensors, scratch, metadata)
    scratch.replace(path)


@click.command()
@click.option("--shards", default=60, show_default=True, help="Shards of a thousand sentences.")
@click.option("--folder", type=click.Path(path_type=Path), default=VOICES / "shards")
def main(shards: int, folder: Path) -> None:
    """Write the shards that are missing."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    os.nice(19)
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    sentences = np.array(training_sentences())
    teacher, ids = load_teacher(), phoneme_map(fetch_teacher())
    for number in range(min(shards, len(sentences) // SHARD_SENTENCES)):
        path = folder / f"{number:04}.safetensors"
        if not path.exists():
            first = number * SHARD_SENTENCES
            write_shard(path, sentences[first : first + SHARD_SENTENCES].tolist(), teacher, ids)
            logger.info("wrote %s", path)


if __name__ == "__main__":
    main()
