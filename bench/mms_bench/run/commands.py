"""Processes of a measurement: whole commands, their time, and the memory of all their processes."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from mms_bench.errors import Failed, Skipped

_MEMORY_INTERVAL = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command that ended with status 0."""

    seconds: float
    peak_memory: int
    """Largest sum of the resident sets of all its processes in bytes, sampled every 50 ms."""
    stdout: str


def script(name: str) -> str:
    """Return the path of one of this project's commands, beside this interpreter."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise Skipped(f"the command {name} is not installed beside {Path(sys.executable).name}")
    return str(path)


def run(command: Sequence[str], *, threads: int, watch: bool) -> Outcome:
    """Run a command to its end; Failed, with the last line of its stderr, if it exits with one.

    Args:
        command: Program and arguments.
        threads: Limit of its libraries' thread pools.
        watch: Whether to sample memory, which disturbs the time of a short command.
    """
    peak = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )
        try:
            while watch and process.poll() is None:
                peak = max(peak, _tree_memory(process.pid))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_MEMORY_INTERVAL)
            code = process.wait()
            seconds = time.perf_counter() - start
        finally:
            kill_group(process)
        if code:
            last = last_line(err) or "it wrote nothing to stderr"
            raise Failed(f"exit status {code}: {last}")
        out.seek(0)
        return Outcome(seconds, peak, out.read().decode(errors="replace"))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session, and its children, and wait for its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(log: IO[bytes]) -> str:
    """Return the last line of a process's output, empty if there is none."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _tree_memory(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total
