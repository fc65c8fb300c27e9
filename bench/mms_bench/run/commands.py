"""Timing of whole commands, and the memory of all their processes."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mms_bench.errors import Failed, Skipped

_MEMORY_INTERVAL = 0.05


@dataclass(slots=True)
class Outcome:
    """A command that ended with status 0."""

    seconds: float = 0.0
    peak_memory: int = 0
    """Largest sum of the resident sets of all its processes in bytes, sampled every 50 ms."""
    stdout: str = ""


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
    outcome = Outcome()
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
            with _watched(process.pid, outcome) if watch else contextlib.nullcontext():
                code = process.wait()
                outcome.seconds = time.perf_counter() - start
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # its children too
            process.wait()
        err.seek(0)
        out.seek(0)
        if code:
            lines = err.read().decode(errors="replace").strip().splitlines()
            last = lines[-1].strip() if lines else "it wrote nothing to stderr"
            raise Failed(f"exit status {code}: {last}")
        outcome.stdout = out.read().decode(errors="replace")
        return outcome


@contextlib.contextmanager
def _watched(pid: int, outcome: Outcome) -> Iterator[None]:
    """Sample the memory of a process and its children until the block ends."""
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_MEMORY_INTERVAL):
            outcome.peak_memory = max(outcome.peak_memory, _tree_memory(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tree_memory(pid: int) -> int:
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total
