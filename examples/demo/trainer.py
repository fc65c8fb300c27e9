"""One training step after another: losses, optimizer, running average, and the saved state."""

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import torch
from examples.demo.batches import Batch
from examples.demo.layout import read_convolutions
from examples.demo.model import AcousticModel, ModelConfig, frame_lengths, mixed_precision
from examples.demo.vocab import BLANK
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)

PEAK_RATE, WARMUP_STEPS, FLAT_STEPS = 1.2e-3, 500, 8000
MEL_STEPS = 1500  # over which the weight of the log-mel loss falls from 3 to 0.3
CONSISTENCY = 0.2  # weight of the divergence between the views of a clip
AVERAGE_DECAY = 0.999


def learning_rate(step: int, warm_from: int) -> float:
    """Warm-up, then flat, then falling with the square root: no end has to be known."""
    warm = min((step - warm_from + 1) / WARMUP_STEPS, 1.0)
    return PEAK_RATE * warm * min(math.sqrt(FLAT_STEPS / (step + 1)), 1.0)


def ctc(emission: Tensor, batch: Batch) -> Tensor:
    """CTC loss per target token of each utterance, shape [B]."""
    lengths = frame_lengths(batch.samples)
    losses = functional.ctc_loss(
        emission.transpose(0, 1),
        batch.targets,
        lengths,
        batch.target_lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return losses / batch.target_lengths


def divergence(emission: Tensor, batch: Batch) -> Tensor:
    """Divergence between the two views of each clip per target token, shape [B / 2].

    Consistency regularisation of CTC (Yao et al. 2025, arXiv:2410.05101): the mean of both
    Kullback-Leibler divergences, each to a view that is held fixed, summed over frames.
    """
    one, other = emission.chunk(2)
    count = len(one)
    valid = torch.arange(one.shape[1]) < frame_lengths(batch.samples[:count])[:, None]
    both = functional.kl_div(one, other.detach(), reduction="none", log_target=True)
    both = both + functional.kl_div(other, one.detach(), reduction="none", log_target=True)
    return 0.5 * (both.sum(-1) * valid).sum(-1) / batch.target_lengths[:count]


class Trainer:
    """Model, its running average and the optimizer, with everything needed to resume."""

    def __init__(self, config: ModelConfig, vocab: dict[str, dict[str, int]]) -> None:
        torch.manual_seed(0)
        self.config, self.vocab, self.step = config, vocab, 0
        self.warm_from = 0  # step at which the learning rate last started from zero
        self.cooldown: list[int] = []  # first and last step of the branch this is, if it is one
        self.convolutions_kept = False
        self.model = AcousticModel(config)
        self.average = AcousticModel(config)
        self.average.load_state_dict(self.model.state_dict())
        shared, by_language = [], []
        for name, parameter in self.model.named_parameters():
            own = "adapter_layer" in name or name.startswith("head_")
            (by_language if own else shared).append(parameter)
        # A language is absent from most batches, so its second moment needs the longer memory.
        groups = [{"params": shared}, {"params": by_language, "betas": (0.9, 0.999)}]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

    def train_step(self, batch: Batch, rate: float) -> tuple[Tensor, float]:
        """One update; return the CTC loss of each utterance [B] and the log-mel loss."""
        torch.manual_seed(self.step)  # the layers dropped in step n are the same after a restart
        self.model.train()
        with mixed_precision():
            final, halfway, mels = self.model(
                batch.audio, batch.samples, batch.language, batch.spans
            )
        valid = torch.arange(mels.shape[1]) < frame_lengths(batch.samples)[:, None]
        mel_loss = (mels.float() - batch.mels).abs()[valid].mean()
        mel_weight = 0.0 if self.convolutions_kept else self._mel_weight()
        ctc_loss = ctc(final, batch)
        loss = (ctc_loss + 0.3 * ctc(halfway, batch)).mean() + mel_weight * mel_loss
        loss = loss + CONSISTENCY * divergence(final, batch).mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return ctc_loss.detach(), float(mel_loss.detach())

    def _mel_weight(self) -> float:
        return max(3.0 - 2.7 * self.step / MEL_STEPS, 0.3)

    def keep_convolutions(self, folder: Path | None = None) -> None:
        """Leave the convolutions as they are from now on, or as they are in a checkpoint.

        The checkpoint of language identification has the same convolutions.
        """
        for model in (self.model, self.average):
            if folder is not None:
                read_convolutions(folder, model.feature_extractor.state_dict())
            model.feature_extractor.requires_grad_(False)
            model.mel_head.requires_grad_(False)
        self.convolutions_kept = True

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(AVERAGE_DECAY, self.step / (self.step + 10))
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.model.parameters()), 1 - decay
        )

    def save(self, path: Path) -> None:
        """Write the state; a reader sees the old file or the new one. The old one is kept too."""
        state = {
            "step": self.step,
            "warm_from": self.warm_from,
            "cooldown": self.cooldown,
            "convolutions_kept": self.convolutions_kept,
            "config": dataclasses.asdict(self.config),
            "vocab": self.vocab,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        scratch = path.with_suffix(".tmp")
        torch.save(state, scratch)
        if path.exists():
            previous = path.with_suffix(".previous.pt")
            previous.unlink(missing_ok=True)
            previous.hardlink_to(path)
        scratch.replace(path)
        logger.info("step %d: saved %s", self.step, path.name)

    @classmethod
    def load(cls, path: Path) -> "Trainer":
        """Continue from a saved state."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        trainer = cls(ModelConfig(**state["config"]), state["vocab"])
        trainer.step, trainer.cooldown = state["step"], state["cooldown"]
        trainer.warm_from = state["warm_from"]
        trainer.model.load_state_dict(state["model"])
        trainer.average.load_state_dict(state["average"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        if state.get("convolutions_kept"):
            trainer.keep_convolutions()
        return trainer


def rate_at(trainer: Trainer) -> float:
    """Learning rate of the next step."""
    rate = learning_rate(trainer.step, trainer.warm_from)
    if not trainer.cooldown:
        return rate
    start, end = trainer.cooldown
    return rate * (end - trainer.step) / (end - start)
