"""Train the demo checkpoint on a CPU; stop and start again as you like.

    python -m examples.demo.train                     # until stopped; state in the cache folder
    python -m examples.demo.train --cooldown 1500     # learning rate to zero, writes cooldown.pt

The first command holds its learning rate, so its state can always be trained further. The second
starts from that state, leaves it as it is, and writes the better model that is published; stopped
before its end, it goes on there.

Training takes only CPU time that nothing else wants, and waits while the cache folder holds a
file named `pause`. `log.csv` there holds the losses and error rates.
"""

import contextlib
import csv
import fcntl
import json
import logging
import os
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import click
import torch
from examples.demo.batches import Batch, ClipStore, TrainingBatches
from examples.demo.evaluate import rates
from examples.demo.layout import read_checkpoint
from examples.demo.model import ModelConfig
from examples.demo.prepare import CACHE
from examples.demo.publish import CHECKPOINT
from examples.demo.trainer import Trainer, rate_at
from examples.demo.vocab import build_vocab
from torch.utils.data import DataLoader

from mms_engine.system import usable_cores

logger = logging.getLogger(__name__)

SAVE_SECONDS, LOG_STEPS, EVALUATE_SECONDS = 600, 50, 3600
EVALUATED_CLIPS = 24  # at most, of each language
EVALUATED = (
    ("multispeaker", "leftout"),
    ("real", "heldout"),
    ("synthetic", "leftout"),
    ("words", "leftout"),
)


def fresh_trainer(store: ClipStore) -> Trainer:
    """A trainer of default sizes with the vocabulary of the recordings."""
    vocab = build_vocab(store.clips)
    return Trainer(ModelConfig(tuple(vocab), tuple(map(len, vocab.values()))), vocab)


def published_trainer(folder: Path = CHECKPOINT) -> Trainer:
    """A trainer with the weights of the published checkpoint and a fresh optimizer."""
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = ModelConfig(
        tuple(vocab),
        tuple(map(len, vocab.values())),
        hidden=sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        conv_channels=sizes["conv_dim"][0],
        adapter_rank=sizes["adapter_attn_dim"],
    )
    trainer = Trainer(config, vocab)
    for model in (trainer.model, trainer.average):
        read_checkpoint(folder, model.state_dict(), trainer.config)
    metrics = json.loads((folder.parent / "metrics.json").read_text(encoding="utf-8"))
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


def append_log(cache: Path, step: int, measure: str, values: Mapping[str, float]) -> None:
    """Append lines of (seconds since the epoch, step, measure, language or "all", value)."""
    with (cache / "log.csv").open("a", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        for key, value in values.items():
            lines.writerow((round(time.time()), step, measure, key, f"{value:.4g}"))


def log_rates(trainer: Trainer, store: ClipStore, cache: Path) -> None:
    """Log the CER of the averaged weights on the same clips of each held-out set every time."""
    for selection in EVALUATED:
        found = rates(trainer.average, store, trainer.vocab, selection, EVALUATED_CLIPS)
        if found:
            mean = sum(found.values()) / len(found)
            logger.info("step %d: cer %s %s: mean %.3f", trainer.step, *selection, mean)
            append_log(cache, trainer.step, f"cer {selection[0]}", {**found, "all": mean})


def give_way() -> None:
    """Leave the cores to every other process, and bound the memory."""
    # oneDNN keeps code for every shape it has met; batches differ in shape, so it kept gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # Where Linux groups processes by session, priorities count within a session only.
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text("19", encoding="ascii")


def share_cores() -> None:
    """Use all cores if they are free, one if others work: threads wait for the slowest."""
    cores = min(usable_cores(), 2)
    torch.set_num_threads(1 if os.getloadavg()[0] > 1.6 * cores else cores)


def wait_while_paused(cache: Path, stopping: list[int]) -> None:
    """Return once the file `pause` is gone from the cache folder, or at once when stopping."""
    while (cache / "pause").exists() and not stopping:
        time.sleep(1)


class LossLog:
    """Means of the losses since the last report: overall, and by language in log.csv."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.started = cache, time.monotonic()
        self.losses: dict[str, list[float]] = defaultdict(list)

    def add(self, languages: list[str], ctc: list[float], mel: float) -> None:
        """Take in the losses of a step."""
        for lang, loss in zip(languages, ctc, strict=True):
            self.losses[lang].append(loss)
        self.losses["all"].append(sum(ctc) / len(ctc))
        self.losses["mel"].append(mel)

    def report(self, step: int) -> None:
        """Log the means and begin again."""
        means = {key: sum(values) / len(values) for key, values in self.losses.items()}
        pace = (time.monotonic() - self.started) / len(self.losses["all"])
        mel = means.pop("mel")
        logger.info("step %d: ctc %.3f mel %.3f %.2f s/step", step, means["all"], mel, pace)
        append_log(self.cache, step, "ctc", means)
        append_log(self.cache, step, "seconds per step", {"all": pace})
        self.started, self.losses = time.monotonic(), defaultdict(list)


def leave_signals_to_parent(_: int) -> None:
    """Ignore signals in the loader's process, which ends with its parent once that has saved."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def run(trainer: Trainer, store: ClipStore, target: Path) -> None:
    """Train until stopped, or to the end of a cooldown; save now and then, and at the end."""
    cache = target.parent
    batches = TrainingBatches(store, trainer.vocab)
    end = trainer.cooldown[1] if trainer.cooldown else 1 << 40
    steps = range(trainer.step, end)
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=1,
        prefetch_factor=8,
        worker_init_fn=leave_signals_to_parent,
    )
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    saved = evaluated = time.monotonic()
    log = LossLog(cache)
    for batch in loader:
        wait_while_paused(cache, stopping)
        if stopping:
            break
        losses, mel_loss = trainer.train_step(batch, rate_at(trainer))
        log.add([batches.languages[i] for i in batch.language], losses.tolist(), mel_loss)
        if trainer.step % LOG_STEPS == 0:
            log.report(trainer.step)
            share_cores()
        if time.monotonic() - saved > SAVE_SECONDS:
            trainer.save(target)
            saved = time.monotonic()
        if time.monotonic() - evaluated > EVALUATE_SECONDS:
            log_rates(trainer, store, cache)
            evaluated = time.monotonic()
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
@click.option(
    "--keep-convolutions",
    is_flag=True,
    help="From now on, train above the convolutions of the published checkpoint, which language "
    "identification shares, and leave them as they are.",
)
def main(cache: Path, cooldown: int | None, start: str, keep_convolutions: bool) -> None:
    """Train, or continue training, from the clips in the cache folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    give_way()
    share_cores()
    lock = (cache / "lock").open("w")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise click.ClickException(f"another training is running in {cache}") from None
    store = ClipStore(cache)
    trainer = branch(cache, cooldown) if cooldown else starting_trainer(cache, store, start)
    if keep_convolutions:
        trainer.keep_convolutions(CHECKPOINT)
    logger.info("%d clips, from step %d %s", len(store.clips), trainer.step, trainer.cooldown)
    run(trainer, store, cache / "cooldown.pt" if cooldown else cache / "state.pt")


if __name__ == "__main__":
    main()
