"""Train the text side of the demo voice on a CPU; stop and start again as you like.

    python -m examples.demo.voices.train

State and log are in the cache folder (`voices/state.pt`, saved every five minutes and when
stopped; `voices/train.csv`). Shards that `prepare` adds are used as soon as they are there; the
first one is kept apart to measure the losses on sentences that are never trained on.
"""

import csv
import fcntl
import logging
import os
import signal
import time
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
import torch
from examples.demo.voices.prepare import SHARD_SENTENCES
from examples.demo.voices.student import BATCH, Batch, Student, read_batch
from examples.demo.voices.teacher import VOICES, load_teacher

logger = logging.getLogger(__name__)

SAVE_SECONDS, LOG_STEPS, MEASURE_STEPS = 300, 50, 250
BATCHES = SHARD_SENTENCES // BATCH
MEASURED = (8, 12, 16)  # batches of the first shard


def batch_at(step: int, shards: list[Path]) -> Batch:
    """Return the batch of a step: drawn by the step alone from the shards that are there."""
    shard, number = np.random.default_rng(step).random(2)
    return read_batch(shards[1 + int(shard * (len(shards) - 1))], int(number * BATCHES))


@torch.no_grad()
def measure(student: Student, shard: Path) -> dict[str, float]:
    """Return the losses of the averaged weights on sentences that are never trained on."""
    torch.manual_seed(0)
    found = [student.losses(read_batch(shard, n), student.average) for n in MEASURED]
    return {
        f"{name}, held out": float(sum(f[name] for f in found)) / len(found) for name in found[0]
    }


def log(cache: Path, step: int, values: dict[str, float]) -> None:
    """Print the values, and append lines of (seconds since the epoch, step, name, value)."""
    logger.info("step %d: %s", step, ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
    with (cache / "train.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            (round(time.time()), step, name, f"{value:.5g}") for name, value in values.items()
        )


def run(student: Student, cache: Path, steps: int) -> None:
    """Train until stopped or until step `steps`; save now and then, and at the end."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    saved = reported = time.monotonic()
    recent: dict[str, list[float]] = defaultdict(list)
    while student.step < steps and not stopping:
        shards = sorted((cache / "shards").glob("*.safetensors"))
        if len(shards) < 2:
            raise click.ClickException(f"{cache / 'shards'} holds no shards: run `prepare` first")
        for name, value in student.train_step(batch_at(student.step, shards)).items():
            recent[name].append(value)
        if student.step % LOG_STEPS == 0:
            pace = (time.monotonic() - reported) / LOG_STEPS
            means = {name: float(np.mean(values)) for name, values in recent.items()}
            log(cache, student.step, {**means, "seconds a step": pace})
            recent.clear()
            reported = time.monotonic()
        if student.step % MEASURE_STEPS == 0:
            log(cache, student.step, measure(student, shards[0]))
        if time.monotonic() - saved > SAVE_SECONDS:
            student.save(cache / "state.pt")
            saved = time.monotonic()
    student.save(cache / "state.pt")


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=VOICES)
@click.option("--steps", default=1 << 40, help="Step at which to stop; by default never.")
@click.option("--threads", default=1, show_default=True)
def main(cache: Path, steps: int, threads: int) -> None:
    """Train, or continue training, from the shards in the cache folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")
    os.nice(19)
    torch.set_num_threads(threads)
    lock = (cache / "lock").open("w")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise click.ClickException(f"another training is running in {cache}") from None
    if (cache / "state.pt").exists():
        student = Student()
        student.load(cache / "state.pt")
    else:
        student = Student(load_teacher())
    run(student, cache, steps)


if __name__ == "__main__":
    main()
