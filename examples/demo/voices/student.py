"""The demo voice in training: sizes, batches of the teacher's readings, losses, saved state."""

import json
import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from examples.demo.voices.alignment import expected_positions, monotonic_alignment
from examples.demo.voices.encoder import encode
from examples.demo.voices.teacher import COPIED_SIZES
from examples.demo.voices.text import VOCABULARY
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from transformers import VitsConfig, VitsModel

logger = logging.getLogger(__name__)

# Small enough that the whole voice stays under 25 MB in half precision.
STUDENT_SIZES: dict[str, Any] = {
    **COPIED_SIZES,
    "vocab_size": len(VOCABULARY),
    "num_hidden_layers": 5,
    "ffn_dim": 240,
    "duration_predictor_num_flows": 2,
    "depth_separable_num_layers": 2,
    "posterior_encoder_num_wavenet_layers": 0,
}
TRAINING_SIZES = {
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "layerdrop": 0.0,
    "duration_predictor_dropout": 0.1,
}
BATCH = 20
PEAK_RATE, WARMUP_STEPS, FLAT_STEPS = 1.5e-3, 300, 2000
AVERAGE_DECAY = 0.998
TAUGHT_LAYERS = 3  # whose weights at the start are those of the teacher
DURATION_STEPS = 4  # one in so many trains the duration predictor
PENALTY = 20.0  # of a frame, for each token beyond the slack around its expected position
SLACK, SLACK_GROWTH = 2.0, 1 / 400  # tokens, and tokens a step
MOST_SLACK = 8.0
SPACE = 3  # phoneme id of a space


@dataclass
class Batch:
    """Sentences of one shard in letters, and the teacher's reading of them, padded.

    Attributes:
        ids: Letters between blanks, shape [B, T].
        tokens: Valid ids of each row, shape [B].
        means: Teacher's prior means of each phoneme, shape [B, P, D].
        log_deviations: Teacher's logarithms of the prior's deviations, shape [B, P, D].
        positions: Expected token of each phoneme, shape [B, P].
        phonemes: Phoneme of each frame, shape [B, F].
        frames: Valid frames of each row, shape [B].
    """

    ids: Tensor
    tokens: Tensor
    means: Tensor
    log_deviations: Tensor
    positions: Tensor
    phonemes: Tensor
    frames: Tensor


def letter_ids(text: str) -> list[int]:
    """Return the ids of a sentence with blanks (id 0) between all letters and at both ends."""
    ids = [0] * (2 * len(text) + 1)
    ids[1::2] = [VOCABULARY[letter] for letter in text]
    return ids


def frame_phonemes(durations: NDArray[np.int16], tokens: int) -> NDArray[np.int64]:
    """Return the phoneme of each frame, stretched where there are fewer frames than tokens."""
    frames = np.repeat(np.arange(len(durations)), durations)
    if len(frames) < tokens:
        frames = frames[np.arange(tokens) * len(frames) // tokens]
    return frames


def _pad(rows: list[NDArray[Any]]) -> Tensor:
    padded = np.zeros((len(rows), max(map(len, rows)), *rows[0].shape[1:]), rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded)


@lru_cache(maxsize=128)
def _shard_texts(path: Path) -> tuple[list[str], list[list[int]], NDArray[np.int64]]:
    """Sentences, phoneme ids and where each sentence's phonemes begin."""
    with safe_open(path, "np") as shard:
        metadata = shard.metadata()
        starts = np.concatenate(([0], np.cumsum(shard.get_tensor("lengths"))))
    return json.loads(metadata["sentences"]), json.loads(metadata["ids"]), starts


def read_batch(path: Path, number: int) -> Batch:
    """Read batch `number` of a shard, whose sentences are of like lengths."""
    sentences, phoneme_rows, starts = _shard_texts(path)
    chosen = range(number * BATCH, min((number + 1) * BATCH, len(sentences)))
    first, last = starts[chosen[0]], starts[chosen[-1] + 1]
    with safe_open(path, "np") as shard:
        tensors = {
            name: shard.get_slice(name)[first:last]
            for name in ("means", "log_deviations", "durations")
        }
    spans = [slice(starts[i] - first, starts[i + 1] - first) for i in chosen]
    ids = [np.array(letter_ids(sentences[i])) for i in chosen]
    phonemes = [
        frame_phonemes(tensors["durations"][span], len(row))
        for span, row in zip(spans, ids, strict=True)
    ]
    return Batch(
        _pad(ids),
        torch.tensor([len(row) for row in ids]),
        _pad([tensors["means"][span] for span in spans]).float(),
        _pad([tensors["log_deviations"][span] for span in spans]).float(),
        _pad([expected_positions(sentences[i], phoneme_rows[i], SPACE) for i in chosen]),
        _pad(phonemes),
        torch.tensor([len(row) for row in phonemes]),
    )


@torch.no_grad()
def align(means: Tensor, batch: Batch, slack: float) -> Tensor:
    """Return the token of each frame, shape [B, F], by the student's means [B, T, D]."""
    weight = torch.exp(-2 * batch.log_deviations)
    weighted = weight * batch.means
    cost = 0.5 * (weight @ means.square().transpose(1, 2)) - weighted @ means.transpose(1, 2)
    cost += 0.5 * (weighted * batch.means).sum(-1, keepdim=True)
    away = (torch.arange(means.shape[1]) - batch.positions[..., None]).abs()
    cost += PENALTY * (away - slack).clamp(min=0)
    at_frames = np.take_along_axis(cost.numpy(), batch.phonemes.numpy()[..., None], axis=1)
    path = monotonic_alignment(at_frames, batch.frames.numpy(), batch.tokens.numpy())
    return torch.from_numpy(path)


def shared_frames(path: Tensor, batch: Batch) -> Tensor:
    """Return how many frames each token shares with each phoneme, shape [B, T, P]."""
    rows, phonemes = batch.means.shape[:2]
    tokens = batch.ids.shape[1]
    valid = torch.arange(path.shape[1]) < batch.frames[:, None]
    shared = torch.zeros(rows, tokens * phonemes)
    shared.scatter_add_(1, path * phonemes + batch.phonemes, valid.float())
    return shared.view(rows, tokens, phonemes)


def squared_error(learned: Tensor, taught: Tensor, shared: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted squared error, summed over frames and dimensions.

    Args:
        learned: Values of the tokens, shape [B, T, D].
        taught: Values of the phonemes, shape [B, P, D].
        shared: Frames of each token and phoneme, shape [B, T, P].
        weight: Weights of the phonemes' values, shape [B, P, D].
    """
    quadratic, linear = shared @ weight, shared @ (weight * taught)
    constant = (shared.sum(1)[..., None] * weight * taught.square()).sum()
    return (quadratic * learned.square() - 2 * linear * learned).sum() + constant


@torch.no_grad()
def start_from_teacher(model: VitsModel, teacher: VitsModel) -> None:
    """Set the last layers and the projection to the teacher's, with the strongest FFN channels."""
    model.text_encoder.project.load_state_dict(teacher.text_encoder.project.state_dict())
    layers, taught = model.text_encoder.encoder.layers, teacher.text_encoder.encoder.layers
    for layer, source in zip(layers[-TAUGHT_LAYERS:], taught[-TAUGHT_LAYERS:], strict=True):
        for part in ("attention", "layer_norm", "final_layer_norm"):
            getattr(layer, part).load_state_dict(getattr(source, part).state_dict())
        first, second = source.feed_forward.conv_1, source.feed_forward.conv_2
        strength = first.weight.norm(dim=(1, 2)) * second.weight.norm(dim=(0, 2))
        kept = strength.argsort(descending=True)[: layer.feed_forward.conv_1.out_channels]
        layer.feed_forward.conv_1.weight.copy_(first.weight[kept])
        layer.feed_forward.conv_1.bias.copy_(first.bias[kept])
        layer.feed_forward.conv_2.weight.copy_(second.weight[:, kept])
        layer.feed_forward.conv_2.bias.copy_(second.bias)


class Student:
    """Text encoder and duration predictor with their running averages and the optimizer."""

    def __init__(self, teacher: VitsModel | None = None) -> None:
        torch.manual_seed(0)
        config = VitsConfig(**{**STUDENT_SIZES, **TRAINING_SIZES})
        self.model, self.average = VitsModel(config), VitsModel(config)
        for model in (self.model, self.average):
            del model.flow, model.decoder, model.posterior_encoder
        self.average.eval()
        self.step = 0
        if teacher is not None:
            start_from_teacher(self.model, teacher)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )

    def losses(self, batch: Batch, model: VitsModel) -> dict[str, Tensor]:
        """Return the losses of the prior's means and deviations, and of the durations."""
        hidden, means, log_deviations = encode(model, batch.ids, batch.tokens)
        path = align(means, batch, min(SLACK + SLACK_GROWTH * self.step, MOST_SLACK))
        shared = shared_frames(path, batch)
        weight = torch.exp(-2 * batch.log_deviations)
        values = shared.sum() * means.shape[-1]
        found = {
            "means": squared_error(means, batch.means, shared, weight) / values,
            "deviations": squared_error(
                log_deviations, batch.log_deviations, shared, torch.ones_like(weight)
            )
            / values,
        }
        if not model.training or self.step % DURATION_STEPS == 0:
            chosen = slice(None, None, 2)  # slow, and learned long before the rest
            mask = (torch.arange(batch.ids.shape[1]) < batch.tokens[chosen, None]).float()
            durations = shared[chosen].sum(2)[:, None]
            nll = model.duration_predictor(
                hidden[chosen].transpose(1, 2), mask[:, None], durations=durations
            )
            found["durations"] = nll.sum() / mask.sum()
        return found

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Update once; return the losses."""
        torch.manual_seed(self.step)
        self.model.train()
        losses = self.losses(batch, self.model)
        self.optimizer.zero_grad(set_to_none=True)
        sum(losses.values(), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step)
        self.optimizer.step()
        self.step += 1
        decay = min(AVERAGE_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - decay
            )
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def save(self, path: Path) -> None:
        """Write the state; a reader sees the old file or the new one."""
        state = {
            "step": self.step,
            "sizes": STUDENT_SIZES,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        scratch = path.with_suffix(".tmp")
        torch.save(state, scratch)
        scratch.replace(path)
        logger.info("step %d: saved %s", self.step, path.name)

    def load(self, path: Path) -> None:
        """Continue from a saved state."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["sizes"] != STUDENT_SIZES:
            raise ValueError(f"{path} holds a voice of other sizes; move it away to begin anew")
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def learning_rate(step: int) -> float:
    """Warm-up, then flat, then falling with the square root: no end has to be known."""
    warm = min((step + 1) / WARMUP_STEPS, 1.0)
    return PEAK_RATE * warm * min(math.sqrt(FLAT_STEPS / (step + 1)), 1.0)
