"""Soak of the server: clients of every protocol for an hour, of which some crash or lie.

As a command, it starts a server, prints its figures every half minute and the verdict at the end:
`python tests/soak.py --seconds 3600 --bundle FOLDER --bundle FOLDER --out soak.jsonl`. Honest
clients must be told what the same request was told before the load, memory and the cost of a
request must not grow, and when all have left, nothing may be left on the server. Naming clients
with `--client` finds out which of them a growth comes from.
"""

import asyncio
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

import click
import numpy as np
import psutil

from engine_demo import demo_clips
from server_process import ServerProcess, running
from soak_clients import BAD, HONEST, VARIANTS, World
from soak_endless import ENDLESS

SESSION_SECONDS = 10
_LEFT_SECONDS = 150.0
"""Time for everything to end once the clients have left: time-outs and kept sessions."""
_GAUGES = ("requests_running", "sockets", "streams", "containers", "upload_bytes",
           "decoded_seconds", "decoding_waiting", "tasks_waiting", "speech_waiting",
           "jobs_waiting", "sessions_kept")  # fmt: skip
"""Gauges that must be 0 without clients."""


@dataclass(slots=True)
class Sample:
    """State of the server at a time, and what happened since the last one."""

    seconds: float
    rss: int
    """Resident memory in bytes."""
    anonymous: int
    """Part of it that is no file."""
    threads: int
    files: int
    """Open files and sockets."""
    left: int
    """Files in its temporary folder and in the store of sessions."""
    tasks: int
    """Tasks of its event loop."""
    cpu_seconds: float
    """Time on the processor since the last sample."""
    load: float
    """Load average of the machine, other programs included."""
    gauges: dict[str, float]
    honest: dict[str, list[float]] = field(default_factory=dict)
    """Seconds that each honest client took, by kind."""
    bad: dict[str, int] = field(default_factory=dict)
    """Clients that crashed or lied, by kind."""

    def __str__(self) -> str:
        times = " ".join(
            f"{kind} {len(values)}/{1000 * np.median(values):.0f}/"
            f"{1000 * np.quantile(values, 0.95):.0f}"
            for kind, values in self.honest.items()
            if values
        )
        return (
            f"{self.seconds:5.0f} s: {self.rss / (1 << 20):.1f} MiB "
            f"({self.anonymous / (1 << 20):.1f} anonymous), {self.threads} threads, {self.files} "
            f"files, {self.left} left, {self.tasks} tasks, {self.cpu_seconds:.1f} s CPU, load "
            f"{self.load:.1f}; bad {sum(self.bad.values())}; count/p50/p95 ms: {times}"
        )


class Soak:
    """Clients of a server, and samples of its state."""

    def __init__(self, world: World, kinds: Sequence[str], bad_share: float, pause: float) -> None:
        """Begin without clients.

        Args:
            world: Server, and what its clients say.
            kinds: Kinds of clients.
            bad_share: Share of the clients that crash or lie.
            pause: Mean time in seconds between a client and the next of its kind.
        """
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        """Failures of honest clients."""
        self.utterances: dict[str, int] = {}
        """Utterances of the endless clients."""
        self._world = world
        self._kinds = kinds
        self._bad_share = bad_share
        self._pause = pause
        self._wanted: dict[tuple[str, int], str] = {}
        self._honest: dict[str, list[float]] = defaultdict(list)
        self._bad: dict[str, int] = defaultdict(int)
        self._process = psutil.Process(world.server.process.pid)
        self._cpu = self._cpu_seconds()
        self._begin = 0.0
        self._end = 0.0

    async def learn(self) -> None:
        """Ask each question once, alone, before the load."""
        for kind in self._kinds:
            for variant in range(VARIANTS):
                question = random.Random(variant)  # noqa: S311
                self._wanted[kind, variant] = await HONEST[kind](self._world, question)

    async def run(self, seconds: float, interval: float, workers: int, output: TextIO) -> None:
        """Run the clients, and sample every `interval` seconds; see `failures`."""
        self._begin = time.monotonic()
        self._end = self._begin + seconds
        works = [self._watch(interval, output)]
        for number, kind in enumerate(kind for kind in self._kinds for _ in range(workers)):
            works.append(self._work(kind, number))
        works += [self._endless(kind) for kind in ENDLESS.keys() & set(self._kinds)]
        tasks = list(map(asyncio.ensure_future, works))
        done, pending = await asyncio.wait(tasks, timeout=seconds + _LEFT_SECONDS)
        self.failures += [repr(task.exception()) for task in done if task.exception()]
        if pending:
            self.failures.append(f"{len(pending)} clients did not end")

    def _is_over(self) -> bool:
        return time.monotonic() > self._end

    async def _work(self, kind: str, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311
        while not self._is_over():
            await asyncio.sleep(rng.expovariate(1 / self._pause))
            if rng.random() < self._bad_share:
                await BAD[kind](self._world, rng)
                self._bad[kind] += 1
                continue
            variant, begin = rng.randrange(VARIANTS), time.monotonic()
            try:
                found = await HONEST[kind](self._world, random.Random(variant))  # noqa: S311
            except Exception as error:  # noqa: BLE001 (whatever an honest client meets is a finding)
                self._fail(f"{kind} {variant}: {error!r}")
                continue
            self._honest[kind].append(time.monotonic() - begin)
            wanted = self._wanted[kind, variant]
            if found != wanted:
                self._fail(f"{kind} {variant}: {found[:500]!r}, not {wanted[:500]!r}")

    def _fail(self, failure: str) -> None:
        text = f"{time.monotonic() - self._begin:.0f} s: {failure}"
        click.echo(f"wrong: {text}")
        self.failures.append(text)

    async def _endless(self, kind: str) -> None:
        self.utterances[kind] = await ENDLESS[kind](self._world, self._is_over)

    async def _watch(self, interval: float, output: TextIO) -> None:
        due = self._begin + interval
        while not self._is_over():
            await asyncio.sleep(max(0.0, min(due, self._end + 0.01) - time.monotonic()))
            due += interval
            sample = self.sample()
            self.samples.append(sample)
            output.write(json.dumps(asdict(sample)) + "\n")
            output.flush()
            click.echo(str(sample))

    def sample(self) -> Sample:
        """Return the state of the server, and take what happened since the last sample."""
        server, process = self._world.server, self._process
        with process.oneshot():
            memory, cpu = process.memory_full_info(), self._cpu_seconds()
            threads, files = process.num_threads(), process.num_fds()
        sample = Sample(
            round(time.monotonic() - self._begin, 1),
            memory.rss,
            memory.rss - memory.shared,
            threads,
            files,
            len(left_files(server)),
            int(server.metric("mms_event_loop_tasks")),
            cpu - self._cpu,
            os.getloadavg()[0],
            {name: server.metric(f"mms_{name}") for name in _GAUGES},
            {kind: [round(one, 4) for one in values] for kind, values in self._honest.items()},
            dict(self._bad),
        )
        self._cpu = cpu
        self._honest.clear()
        self._bad.clear()
        return sample

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def left_files(server: ServerProcess) -> list[str]:
    """Return the files of a server of `serving`."""
    folders = [server.env["TMPDIR"], server.env["MMS_SESSION_STORE"]]
    return [path.name for folder in folders for path in Path(folder).iterdir()]


@contextmanager
def serving(bundles: Sequence[Path]) -> Iterator[ServerProcess]:
    """Yield a server whose files are in folders of its own."""
    options = {"--wyoming-port": 0, "--session-seconds": SESSION_SECONDS, "--header-seconds": 5,
               "--body-seconds": 5, "--idle-seconds": 5}  # fmt: skip
    flat = [part for option in options.items() for part in option]
    flat += [part for bundle in bundles for part in ("--bundle", bundle)]
    with tempfile.TemporaryDirectory(prefix="mms-soak-") as folder:
        env = {"TMPDIR": f"{folder}/temporary", "MMS_SESSION_STORE": f"{folder}/sessions"}
        for path in env.values():
            Path(path).mkdir()
        with running(*flat, "--no-admission", env=env) as server:
            yield server


async def soak(
    world: World,
    *,
    seconds: float,
    interval: float,
    warm_up: float,
    kinds: Sequence[str] = tuple(HONEST),
    bad_share: float = 0.05,
    pause: float = 1.0,
    workers: int = 2,
    output: TextIO,
) -> list[str]:
    """Return what is wrong with a server under load; nothing if all is well.

    Args:
        world: Server, and what its clients say.
        seconds: Time of the load.
        interval: Time between two samples.
        warm_up: Time after which memory and cost must be flat.
        kinds: Kinds of clients.
        bad_share: Share of the clients that crash or lie.
        pause: Mean time in seconds between a client and the next of its kind.
        workers: Clients of each kind at a time.
        output: File of the samples, a line of JSON each.
    """
    run = Soak(world, kinds, bad_share, pause)
    await run.learn()
    before = run.sample()
    await run.run(seconds, interval, workers, output)
    wrong = run.failures
    wrong += [f"no utterance of the endless {kind}" for kind, n in run.utterances.items() if not n]
    wrong += await _not_left(world.server, before)
    warm = [one for one in run.samples if one.seconds > warm_up]
    return wrong + (growth(warm) if len(warm) >= 8 else []) + _logged(world.server)


async def _not_left(server: ServerProcess, before: Sample) -> list[str]:
    """Return what is left on a server although all clients have left."""
    end = time.monotonic() + _LEFT_SECONDS
    while True:
        wrong = [f"{n} is {v:g}" for n in _GAUGES if (v := server.metric(f"mms_{n}"))]
        process = psutil.Process(server.process.pid)
        tasks, files = server.metric("mms_event_loop_tasks"), process.num_fds()
        if tasks > before.tasks:
            wrong.append(f"{tasks:g} tasks of the event loop, {before.tasks} before")
        if files > before.files:
            wrong.append(f"{files} open files, {before.files} before")
        if left := left_files(server):
            wrong.append(f"{len(left)} files: {left[:5]}")
        if not wrong or time.monotonic() > end:
            return wrong
        await asyncio.sleep(0.5)


def growth(warm: Sequence[Sample]) -> list[str]:
    """Return what grew from the first quarter of the samples to the last."""
    quarter = len(warm) // 4
    first, last = warm[:quarter], warm[-quarter:]
    wrong = []
    for name, most in (("rss", 1.02), ("threads", 1.1)):
        old, new = (np.median([getattr(s, name) for s in part]) for part in (first, last))
        text = f"{name}: {old:.0f}, then {new:.0f} ({100 * (new / old - 1):+.2f} %)"
        click.echo(text)
        if new > most * old:
            wrong.append(text)
    expected = _usual_cpu(warm)
    old, new = (
        sum(one.cpu_seconds for one in part) / usual.sum()
        for part, usual in ((first, expected[:quarter]), (last, expected[-quarter:]))
    )
    text = f"CPU relative to each kind of client in the first half: {old:.3f}, then {new:.3f}"
    click.echo(text)
    if new > 1.1 * old:
        wrong.append(text)
    for kind in sorted({kind for one in warm for kind in one.honest}):
        parts = [[v for s in part for v in s.honest.get(kind, [])] for part in (first, last)]
        old_times, new_times = ([f"{1000 * np.quantile(p, q):.0f}" for q in (0.5, 0.95)]
                                for p in parts if p)  # fmt: skip
        click.echo(f"{kind}: p50/p95 {'/'.join(old_times)} ms, then {'/'.join(new_times)} ms")
    return wrong


def _usual_cpu(samples: Sequence[Sample]) -> np.ndarray:
    """Return the CPU seconds that the clients of each sample would have cost in the first half.

    The server is one process, and the mix of kinds changes (a spoken sentence costs fifty times a
    list of models), so the cost of a client of each kind is fitted by least squares.
    """
    kinds = sorted({kind for one in samples for kind in one.honest})
    counts = np.array(
        [
            [*(len(one.honest.get(kind, [])) for kind in kinds), sum(one.bad.values()), 1.0]
            for one in samples
        ]
    )
    half = len(samples) // 2
    costs, *_ = np.linalg.lstsq(counts[:half], [one.cpu_seconds for one in samples[:half]])
    return np.asarray(counts @ costs)


def _logged(server: ServerProcess) -> list[str]:
    return [text for text in ("Traceback", "internal_error", "never retrieved")
            if text in server.log]  # fmt: skip


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path, exists=True), multiple=True,
              help="Bundle to serve; repeatable. The demo bundles by default.")  # fmt: skip
@click.option("--seconds", type=float, default=3600, show_default=True, help="Time of the load.")
@click.option("--interval", type=float, default=30, show_default=True,
              help="Time between two samples, in seconds.")  # fmt: skip
@click.option("--warm-up", type=float, default=600, show_default=True,
              help="Time after which memory must be flat, in seconds.")  # fmt: skip
@click.option("--client", type=click.Choice(list(HONEST)), multiple=True,
              help="Kind of client; repeatable. All by default.")  # fmt: skip
@click.option("--bad", type=float, default=0.05, show_default=True,
              help="Share of the clients that crash or lie.")  # fmt: skip
@click.option("--pause", type=float, default=1.0, show_default=True,
              help="Mean time from a client to the next of its kind, in seconds.")  # fmt: skip
@click.option("--workers", type=int, default=2, show_default=True,
              help="Clients of each kind at a time.")  # fmt: skip
@click.option("--out", type=click.File("w"), default=os.devnull, help="File of the samples.")
def main(
    bundle: tuple[Path, ...],
    seconds: float,
    interval: float,
    warm_up: float,
    client: tuple[str, ...],
    bad: float,
    pause: float,
    workers: int,
    out: TextIO,
) -> None:
    """Load a server with clients of every protocol, and tell whether it leaks or slows down."""
    logging.basicConfig(level=logging.INFO)
    with serving(bundle) as server:
        work = soak(
            World(server, demo_clips()),
            seconds=seconds,
            interval=interval,
            warm_up=warm_up,
            kinds=client or tuple(HONEST),
            bad_share=bad,
            pause=pause,
            workers=workers,
            output=out,
        )
        wrong = asyncio.run(work)
    for one in wrong:
        click.echo(f"wrong: {one}")
    click.echo("failed" if wrong else "well")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
