"""Train the demo model of language identification on a CPU; stop and start again as you like.

    python -m examples.demo.lid.train               # until stopped
    python -m examples.demo.lid.train --publish     # writes checkpoint/, at any time

Goes on from `lid/state.pt` in the cache folder; without it, starts from the published checkpoint
(`--start checkpoint`) or the demo model of speech recognition (`--start asr`). What is published is
a running average of the weights.
"""

import csv
import logging
import math
import signal
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from examples.demo.augment import normalise_audio
from examples.demo.batches import ClipStore
from examples.demo.lid.batches import NONE, Batch, TrainingBatches
from examples.demo.lid.model import CHECKPOINT, Classifier, pretrained, published, write_checkpoint
from examples.demo.lid.sounds import KINDS, Music
from examples.demo.model import HOP, mixed_precision
from examples.demo.prepare import CACHE, SAMPLE_RATE
from examples.demo.train import give_way, leave_signals_to_parent
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)

PEAK_RATE, HEAD_SCALE, WARMUP_STEPS, FLAT_STEPS = 6e-4, 5.0, 60, 1500
AVERAGE_DECAY = 0.995
CALIBRATION_SOUNDS, CALIBRATION_SECONDS, FLOOR_MARGIN = 210, 4, 0.3
SAVE_SECONDS, LOG_STEPS = 300, 25


def loss_of(logits: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """Return the loss, and the share of rows that are right.

    Every logit answers for its label alone (binary cross-entropy), so that one above 0 means that
    the language is more likely than not; rows of no label push all down. The softmax over labels is
    trained beside it.
    """
    is_language = target != NONE
    wanted = torch.zeros_like(logits)
    wanted[is_language, target[is_language]] = 1
    loss = functional.binary_cross_entropy_with_logits(logits, wanted) * 2
    loss = loss + functional.cross_entropy(logits[is_language], target[is_language])
    best = torch.where(logits.max(-1).values > 0, logits.argmax(-1), NONE)
    return loss, float((best == target).float().mean())


class Trainer:
    """Model and optimizer, with everything needed to resume."""

    def __init__(self, model: Classifier) -> None:
        self.model, self.step = model, 0
        self.average = pretrained()
        self.average.load_state_dict(model.state_dict())
        head = [*model.projector.parameters(), *model.classifier.parameters()]
        known = {id(parameter) for parameter in head}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
        groups = [
            {"params": others, "share": 1.0},
            {"params": head, "share": HEAD_SCALE},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02, fused=True)

    def train_step(self, batch: Batch, rate: float) -> tuple[float, float]:
        """One update; return the loss and the share of rows that are right."""
        torch.manual_seed(self.step)
        self.model.train()
        with mixed_precision():
            logits = self.model(batch.audio, batch.samples, batch.spans)
        loss, right = loss_of(logits, batch.target)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.step()
        self.step += 1
        decay = min(AVERAGE_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - decay
            )
        return float(loss.detach()), right

    def save(self, path: Path) -> None:
        """Write the state; a reader sees the old file or the new one."""
        state = {
            "step": self.step,
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
        trainer = cls(pretrained())
        trainer.step = state["step"]
        trainer.model.load_state_dict(state["model"])
        trainer.average.load_state_dict(state.get("average", state["model"]))
        trainer.optimizer.load_state_dict(state["optimizer"])
        return trainer


@torch.inference_mode()
def calibrate(model: Classifier, recorded: Music) -> None:
    """Shift all logits alike, so that sounds without speech stay below 0, the engine's floor.

    The softmax does not change. The sounds are of the kinds of the training.
    """
    model.eval()
    rng = np.random.default_rng(20_261_130)
    highest = float("-inf")
    for number in range(CALIBRATION_SOUNDS):
        makers = (*KINDS, recorded.draw)
        sound = makers[number % len(makers)](CALIBRATION_SECONDS * SAMPLE_RATE, rng)
        audio = torch.from_numpy(np.append(normalise_audio(sound), np.zeros(HOP, np.float32)))
        logits = model(audio[None], torch.tensor([len(sound)]))
        highest = max(highest, float(logits.max()))
    shift = max(0.0, highest + FLOOR_MARGIN)
    model.classifier.bias -= shift
    logger.info("logits of sounds without speech reach %.2f: all lowered by %.2f", highest, shift)


def rate_at(step: int) -> float:
    """Learning rate: warm-up, then flat, then falling with the square root of the step."""
    warm = min((step + 1) / WARMUP_STEPS, 1.0)
    return PEAK_RATE * warm * min(math.sqrt(FLAT_STEPS / (step + 1)), 1.0)


def run(trainer: Trainer, batches: TrainingBatches, last: int, cache: Path) -> None:
    """Train until stopped, or to the last step; save now and then, and at the end."""
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(trainer.step, last),
        num_workers=1,
        prefetch_factor=8,
        worker_init_fn=leave_signals_to_parent,
    )
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    saved = started = time.monotonic()
    losses, rights = [], []
    for batch in loader:
        if stopping:
            break
        loss, right = trainer.train_step(batch, rate_at(trainer.step))
        losses.append(loss)
        rights.append(right)
        if trainer.step % LOG_STEPS == 0:
            pace = (time.monotonic() - started) / len(losses)
            values = (sum(losses) / len(losses), sum(rights) / len(rights), pace)
            logger.info("step %d: loss %.3f right %.3f %.2f s/step", trainer.step, *values)
            with (cache / "log.csv").open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerow((round(time.time()), trainer.step, *values))
            losses, rights, started = [], [], time.monotonic()
        if time.monotonic() - saved > SAVE_SECONDS:
            trainer.save(cache / "state.pt")
            saved = time.monotonic()
    trainer.save(cache / "state.pt")


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--steps", type=int, default=1 << 40, help="Number of the last step.")
@click.option(
    "--publish", is_flag=True, help="Write the checkpoint of the state, without training."
)
@click.option(
    "--start",
    type=click.Choice(["checkpoint", "asr"]),
    default="checkpoint",
    help="Weights to start from where there is no state.",
)
@click.option("--out", type=click.Path(path_type=Path), default=CHECKPOINT)
def main(cache: Path, steps: int, start: str, out: Path, *, publish: bool) -> None:
    """Train, or continue training, from the clips in the cache folder; or write the checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    give_way()
    torch.set_num_threads(1)  # on busy cores, two threads wait for each other
    folder = cache / "lid"
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.pt"
    first = pretrained if start == "asr" else published
    trainer = Trainer.load(state) if state.exists() else Trainer(first())
    if not publish:
        run(trainer, TrainingBatches(ClipStore(cache, folder), Music(cache)), steps, folder)
        return
    calibrate(trainer.average, Music(cache))
    write_checkpoint(out, trainer.average)
    click.echo(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
