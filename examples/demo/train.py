"""Train the demo checkpoint on a CPU; stop and start again as you like.

    python -m examples.demo.train                     # until stopped; state in the cache folder
    python -m examples.demo.train --cooldown 1500     # learning rate to zero, writes cooldown.pt

The first command holds its learning rate, so its state can always be trained further. The second
starts from that state, leaves it as it is, and writes the better model that is published; stopped
before its end, it goes on there.
"""

import json
import logging
import os
import signal
import time
from pathlib import Path

import click
import torch
from examples.demo.batches import Batch, ClipStore, TrainingBatches
from examples.demo.evaluate import rates, with_average
from examples.demo.layout import read_checkpoint
from examples.demo.model import ModelConfig
from examples.demo.prepare import CACHE
from examples.demo.publish import CHECKPOINT
from examples.demo.text import LANGUAGES
from examples.demo.trainer import Trainer, rate_at
from examples.demo.vocab import build_vocab
from torch.utils.data import DataLoader

from mms_engine.system import usable_cores

logger = logging.getLogger(__name__)

SAVE_SECONDS, LOG_STEPS, EVALUATE_STEPS = 300, 50, 500


def fresh_trainer(store: ClipStore) -> Trainer:
    """A trainer of default sizes with the vocabulary of the recordings."""
    vocab = build_vocab(store.clips)
    return Trainer(ModelConfig(tuple(len(vocab[lang]) for lang in LANGUAGES)), vocab)


def published_trainer() -> Trainer:
    """A trainer with the weights of the published checkpoint and a fresh optimizer."""
    vocab = json.loads((CHECKPOINT / "vocab.json").read_text(encoding="utf-8"))
    trainer = Trainer(ModelConfig(tuple(len(vocab[lang]) for lang in LANGUAGES)), vocab)
    for model in (trainer.model, trainer.average):
        read_checkpoint(CHECKPOINT, model.state_dict(), trainer.config)
    metrics = json.loads((CHECKPOINT.parent / "metrics.json").read_text(encoding="utf-8"))
    trainer.step = trainer.warm_from = metrics["step"]
    return trainer


def starting_trainer(cache: Path, store: ClipStore, start: str) -> Trainer:
    """The trainer to go on with; where there is no state.pt, a fresh one."""
    if start == "checkpoint":
        return published_trainer()
    if start == "cooldown":
        trainer = Trainer.load(cache / "cooldown.pt")
        trainer.warm_from, trainer.cooldown = trainer.step, []
        return trainer
    state = cache / "state.pt"
    return Trainer.load(state) if state.exists() else fresh_trainer(store)


def log_rates(trainer: Trainer, store: ClipStore) -> None:
    """Log the CER of the averaged weights on a few clips of each held-out set."""
    for selection in (("real", "heldout"), ("synthetic", "leftout")):
        found = with_average(rates(trainer.average, store, trainer.vocab, selection, most=10))
        logger.info("step %d: cer %s %s %s", trainer.step, *selection, found)


def share_cores() -> None:
    """Use all cores if they are free, one if others work: threads wait for the slowest."""
    cores = usable_cores()
    torch.set_num_threads(1 if os.getloadavg()[0] > 1.6 * cores else cores)


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
@click.option(
    "--start",
    type=click.Choice(["state", "cooldown", "checkpoint"]),
    default="state",
    show_default=True,
    help="Go on from state.pt, from the cooled weights, or from the published checkpoint.",
)
def main(cache: Path, cooldown: int | None, start: str) -> None:
    """Train, or continue training, from the clips in the cache folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    share_cores()
    store = ClipStore(cache)
    trainer = branch(cache, cooldown) if cooldown else starting_trainer(cache, store, start)
    logger.info("%d clips, from step %d %s", len(store.clips), trainer.step, trainer.cooldown)
    run(trainer, store, cache / "cooldown.pt" if cooldown else cache / "state.pt")


if __name__ == "__main__":
    main()
