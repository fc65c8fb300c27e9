"""Train the demo checkpoint on a CPU; stop and start again as you like.

    python -m examples.demo.train                     # until stopped; state in the cache folder
    python -m examples.demo.train --cooldown 1500     # learning rate to zero, writes cooldown.pt

The first command holds its learning rate, so its state can always be trained further. The second
starts from that state, leaves it as it is, and writes the better model that is published; stopped
before its end, it goes on there.
"""

import dataclasses
import logging
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import click
import torch
from examples.demo.batches import Batch, ClipStore, TrainingBatches
from examples.demo.evaluate import rates, with_average
from examples.demo.model import AcousticModel, ModelConfig, frame_lengths
from examples.demo.prepare import CACHE
from examples.demo.text import LANGUAGES
from examples.demo.vocab import BLANK, build_vocab
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)

PEAK_RATE, WARMUP_STEPS, FLAT_STEPS = 1.6e-3, 300, 5000
MEL_STEPS = 1500  # over which the weight of the log-mel loss falls from 3 to 0.3
AVERAGE_DECAY = 0.997
SAVE_SECONDS, LOG_STEPS, EVALUATE_STEPS = 300, 50, 500


def learning_rate(step: int) -> float:
    """Warm-up, then flat, then falling with the square root: no end has to be known."""
    return PEAK_RATE * min((step + 1) / WARMUP_STEPS, 1.0, math.sqrt(FLAT_STEPS / (step + 1)))


def ctc(emission: Tensor, batch: Batch) -> Tensor:
    """Mean CTC loss per target token."""
    lengths = frame_lengths(batch.samples)
    return functional.ctc_loss(
        emission.transpose(0, 1),
        batch.targets,
        lengths,
        batch.target_lengths,
        blank=BLANK,
        zero_infinity=True,
    )


class Trainer:
    """Model, its running average and the optimizer, with everything needed to resume."""

    def __init__(self, config: ModelConfig, vocab: dict[str, dict[str, int]]) -> None:
        torch.manual_seed(0)
        self.config, self.vocab, self.step = config, vocab, 0
        self.cooldown: list[int] = []  # first and last step of the branch this is, if it is one
        self.model = AcousticModel(config)
        self.average = AcousticModel(config)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )

    def train_step(self, batch: Batch, rate: float) -> tuple[float, float]:
        """One update; return the CTC loss and the log-mel loss."""
        torch.manual_seed(self.step)  # dropout of step n is the same after a restart
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            final, halfway, mels = self.model(
                batch.audio, batch.samples, batch.language, batch.spans
            )
        valid = torch.arange(mels.shape[1]) < frame_lengths(batch.samples)[:, None]
        mel_loss = (mels.float() - batch.mels).abs()[valid].mean()
        mel_weight = max(3.0 - 2.7 * self.step / MEL_STEPS, 0.3)
        ctc_loss = ctc(final, batch)
        loss = ctc_loss + 0.3 * ctc(halfway, batch) + mel_weight * mel_loss
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(ctc_loss.detach()), float(mel_loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(AVERAGE_DECAY, self.step / (self.step + 10))
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.model.parameters()), 1 - decay
        )

    def save(self, path: Path) -> None:
        """Write the state; a reader sees the old file or the new one."""
        state = {
            "step": self.step,
            "cooldown": self.cooldown,
            "config": dataclasses.asdict(self.config),
            "vocab": self.vocab,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        scratch = path.with_suffix(".tmp")
        torch.save(state, scratch)
        scratch.replace(path)
        logger.info("step %d: saved %s", self.step, path.name)

    @classmethod
    def load(cls, path: Path) -> "Trainer":
        """Continue from a saved state."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        trainer = cls(ModelConfig(**state["config"]), state["vocab"])
        trainer.step, trainer.cooldown = state["step"], state.get("cooldown", [])
        trainer.model.load_state_dict(state["model"])
        trainer.average.load_state_dict(state["average"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        return trainer


def fresh_trainer(store: ClipStore) -> Trainer:
    """A trainer of default sizes with the vocabulary of the recordings."""
    vocab = build_vocab(store.clips)
    return Trainer(ModelConfig(tuple(len(vocab[lang]) for lang in LANGUAGES)), vocab)


def log_rates(trainer: Trainer, store: ClipStore) -> None:
    """Log the CER of the averaged weights on a few clips of each held-out set."""
    for selection in (("real", "heldout"), ("synthetic", "leftout")):
        found = with_average(rates(trainer.average, store, trainer.vocab, selection, most=10))
        logger.info("step %d: cer %s %s %s", trainer.step, *selection, found)


def share_cores() -> None:
    """Use all cores if they are free, one if others work: threads wait for the slowest."""
    cores = os.cpu_count() or 1
    torch.set_num_threads(1 if os.getloadavg()[0] > 1.6 * cores else cores)


def rate_at(trainer: Trainer) -> float:
    """Learning rate of the next step."""
    if not trainer.cooldown:
        return learning_rate(trainer.step)
    start, end = trainer.cooldown
    return learning_rate(start) * (end - trainer.step) / (end - start)


def run(trainer: Trainer, store: ClipStore, target: Path) -> None:
    """Train until stopped, or to the end of a cooldown; save now and then, and at the end."""
    batches = TrainingBatches(store, trainer.vocab)
    end = trainer.cooldown[1] if trainer.cooldown else 1 << 40
    steps = range(trainer.step, end)
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, sampler=steps, num_workers=1, prefetch_factor=8
    )
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    saved = logged = time.monotonic()
    losses: list[tuple[float, float]] = []
    for batch in loader:
        rate = rate_at(trainer)
        losses.append(trainer.train_step(batch, rate))
        if trainer.step % EVALUATE_STEPS == 0:
            log_rates(trainer, store)
        if trainer.step % LOG_STEPS == 0:
            means = torch.tensor(losses).mean(0).tolist()
            seconds = (time.monotonic() - logged) / len(losses)
            text = "step %d: ctc %.3f mel %.3f rate %.2e %.3f s/step"
            logger.info(text, trainer.step, *means, rate, seconds)
            logged, losses = time.monotonic(), []
            share_cores()
        if stopping:
            break
        if time.monotonic() - saved > SAVE_SECONDS:
            trainer.save(target)
            saved = time.monotonic()
    trainer.save(target)


def branch(cache: Path, steps: int) -> Trainer:
    """The unfinished cooldown of the cache folder, or a new one of so many steps."""
    target = cache / "cooldown.pt"
    if target.exists():
        trainer = Trainer.load(target)
        if trainer.step < trainer.cooldown[1]:
            return trainer
    trainer = Trainer.load(cache / "state.pt")
    trainer.cooldown = [trainer.step, trainer.step + steps]
    return trainer


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--cooldown", type=int, help="Let the rate fall to zero over so many steps.")
@click.option("--from-cooldown", is_flag=True, help="Go on from cooldown.pt, not state.pt.")
def main(cache: Path, cooldown: int | None, *, from_cooldown: bool) -> None:
    """Train, or continue training, from the clips in the cache folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    share_cores()
    store = ClipStore(cache)
    state = cache / "state.pt"
    if cooldown:
        trainer = branch(cache, cooldown)
    elif from_cooldown:
        trainer = Trainer.load(cache / "cooldown.pt")
        trainer.cooldown = []
    else:
        trainer = Trainer.load(state) if state.exists() else fresh_trainer(store)
    logger.info("%d clips, from step %d %s", len(store.clips), trainer.step, trainer.cooldown)
    run(trainer, store, cache / "cooldown.pt" if cooldown else state)


if __name__ == "__main__":
    main()
