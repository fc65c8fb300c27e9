"""Peers in processes of their own, driven over a pipe.

One process per peer keeps memory, thread pools and allocators apart. A worker waits in a blocking
read, which takes no processor time while another one is measured.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

from mms_bench.errors import Failed, NotMeasured
from mms_bench.peers import PeerEntry
from mms_bench.peers.base import Ready, Setup
from mms_bench.run.commands import kill_group, last_line


class FirstCall(NamedTuple):
    """A piece of work that a worker has prepared and called once."""

    number: int
    """Name of the work in later requests."""
    seconds: float
    result: Any


class Worker:
    """A peer in a process of its own, which ends with the `with` block.

    Methods raise `Skipped` if the peer lacks a function, and `Failed` if it or its process fails.
    """

    def __init__(self, entry: PeerEntry, setup: Setup) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._connection, theirs = multiprocessing.Pipe()
        code = f"from {__name__} import serve; serve({theirs.fileno()})"
        # Libraries size their thread pools at import.
        limits = {"OMP_NUM_THREADS": str(setup.threads), "TOKENIZERS_PARALLELISM": "false"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=os.environ | limits,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is left to the parent
            )
        self.pid = self._process.pid
        self.precision = ""
        self.load_seconds: float | None = None
        try:
            self.versions: dict[str, str] = self._request("create", entry, setup)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def build(self) -> None:
        """Build the files that the peer loads."""
        self._request("build")

    def load(self) -> None:
        """Load the model and set `load_seconds` and `precision`."""
        self.load_seconds, self.precision = self._request("load")

    def first(self, work: Any) -> FirstCall:  # noqa: ANN401 - each peer has work of its own
        """Prepare `work` and call it once."""
        found: FirstCall = self._request("first", work)
        return found

    def repeat(self, number: int, seconds: float, most: int) -> list[float]:
        """Repeat prepared work for `seconds`, from once to `most` times; return the seconds."""
        found: list[float] = self._request("repeat", number, seconds, most)
        return found

    def peak_memory(self) -> int:
        """Return the largest resident set so far, in bytes."""
        found: int = self._request("peak_memory")
        return found

    def close(self) -> None:
        """Kill the process and its children."""
        if not self._connection.closed:
            self._connection.close()
            kill_group(self._process)
            self._log.close()

    def _request(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401
        try:
            self._connection.send((name, arguments))
            answer = self._connection.recv()
        except (EOFError, OSError):
            code, last = self._process.wait(), last_line(self._log)
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            raise Failed(f"its process ended with {how}{last and f': {last}'}") from None
        if isinstance(answer, NotMeasured):
            raise answer
        return answer


def serve(handle: int) -> None:
    """Answer requests until the other end of the pipe is closed."""
    service = _Service()
    with Connection(handle) as connection, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            name, arguments = connection.recv()
            try:
                answer = getattr(service, name)(*arguments)
            except NotMeasured as reason:
                answer = reason
            except Exception as error:  # noqa: BLE001 - whatever a peer raises becomes a row
                text = " ".join(str(error).split()) or "no message"
                answer = Failed(f"{type(error).__name__}: {text[:300]}")
            connection.send(answer)


class _Service:
    """Requests by name, in the process of the peer."""

    def create(self, entry: PeerEntry, setup: Setup) -> dict[str, str]:
        self._setup = setup
        self._ready: list[Ready] = []
        self._peer, versions = entry.create()
        return versions

    def build(self) -> None:
        self._peer.build(self._setup)

    def load(self) -> tuple[float, str]:
        seconds, _ = _timed(lambda: self._peer.load(self._setup))
        return seconds, self._peer.precision

    def first(self, work: Any) -> FirstCall:  # noqa: ANN401
        ready = self._peer.ready(work)
        self._ready.append(ready)
        seconds, found = _timed(ready.call)
        return FirstCall(len(self._ready) - 1, seconds, ready.result(found))

    def repeat(self, number: int, seconds: float, most: int) -> list[float]:
        return repeat(self._ready[number].call, seconds, most)

    def peak_memory(self) -> int:
        # Not ru_maxrss, which may be inherited from the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = call()
    return time.perf_counter() - begin, found


def repeat(call: Callable[[], Any], seconds: float, most: int) -> list[float]:
    """Call for `seconds`, from once to `most` times; return the seconds of each call."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        while not times or (time.perf_counter() < end and len(times) < most):
            times.append(_timed(call)[0])
    finally:
        gc.enable()
    return times
