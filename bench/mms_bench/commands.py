"""Times whole commands, and watches the memory of all their processes."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mms_bench.errors import NotHere, WorkerFailed

_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a command that ended well."""

    seconds: float
    """From starting the process to its end."""
    peak_memory: int
    """Bytes: the largest sum of the resident sets of the process and all below it, as seen every
    50 ms; 0 if it was not watched."""
    stdout: str


def script(name: str) -> tuple[str, ...]:
    """Return how to start one of this project's commands with this interpreter.

    Raises:
        NotHere: it is not installed.
    """
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise NotHere(f"the command {name} is not installed beside {Path(sys.executable).name}")
    return (str(path),)


def run(command: Sequence[str], *, threads: int, watch: bool) -> Outcome:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        threads: Limit for the thread pools of its libraries.
        watch: Whether to measure memory, which disturbs the time of a short command.

    Raises:
        WorkerFailed: it exits with an error; the text is the last line it wrote to stderr.
    """
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
            with _watched(process.pid) if watch else contextlib.nullcontext(lambda: 0) as peak:
                code = process.wait()
                seconds = time.perf_counter() - start
        finally:
            _end(process)
        if code:
            raise WorkerFailed(f"exit status {code}: {_tail(err)}")
        out.seek(0)
        return Outcome(seconds, peak(), out.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process and of those it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it wrote nothing to stderr"


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[Callable[[], int]]:
    """Look at the memory of a process and all below it until the block ends."""
    done = threading.Event()
    peak = 0

    def look() -> None:
        nonlocal peak
        while not done.wait(_LOOK_EVERY):
            peak = max(peak, _tree_memory(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: peak
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
