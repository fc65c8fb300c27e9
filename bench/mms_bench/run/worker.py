"""Peers in processes of their own, driven over a pipe.

One process per peer keeps memory, thread pools and allocators apart. A worker waits in a blocking
read, which takes no processor time while another one is measured.
"""

import contextlib
import gc
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from mms_bench.errors import Failed, NotMeasured
from mms_bench.peers import PeerEntry
from mms_bench.peers.base import Ready, Setup


@dataclass(frozen=True, slots=True, eq=False)
class FirstCall:
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
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed by close()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._log.name, entry, setup)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self.precision = ""
        try:
            with theirs, _environment_of_child(setup.threads):
                self._process.start()
            self.versions: dict[str, str] = self._request("create")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id, 0 before the start."""
        return self._process.pid or 0

    def build(self) -> None:
        """Build the files that the peer loads."""
        self._request("build")

    def load(self) -> float:
        """Load the model and return the seconds it took."""
        seconds: float
        seconds, self.precision = self._request("load")
        return seconds

    def first(self, work: Any) -> FirstCall:  # noqa: ANN401 - each peer has work of its own
        """Prepare `work` and call it once."""
        found: FirstCall = self._request("first", work)
        return found

    def repeat(self, number: int, seconds: float, most: int) -> tuple[float, ...]:
        """Repeat prepared work for `seconds`, from once to `most` times; return the seconds."""
        found: tuple[float, ...] = self._request("repeat", number, seconds, most)
        return found

    def peak_memory(self) -> int:
        """Return the largest resident set so far, in bytes."""
        found: int = self._request("peak_memory")
        return found

    def close(self) -> None:
        """Kill the process and its children."""
        if self._connection.closed:
            return
        self._connection.close()
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()  # before it has its own group, there is no group to kill
            self._process.join()
        self._log.close()

    def _request(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401
        try:
            self._connection.send((name, arguments))
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise Failed(self._last_words()) from None
        if isinstance(answer, NotMeasured):
            raise answer
        return answer

    def _last_words(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        lines = Path(self._log.name).read_text(errors="replace").strip().splitlines()
        return f"its process ended with {how}{': ' + lines[-1].strip() if lines else ''}"


@contextlib.contextmanager
def _environment_of_child(threads: int) -> Iterator[None]:
    """Limit thread pools, which libraries size at import, and leave signals to the parent.

    Ctrl-C stays blocked in the child. In the parent, signals wait until the child can be ended:
    blocking alone would not do, since any other thread may receive them.
    """
    changes = {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        # Semaphores of killed workers are removed without a word.
        "PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    caught: list[int] = []

    def defer(number: int, _: object) -> None:
        caught.append(number)

    handlers = {one: signal.signal(one, defer) for one in (signal.SIGINT, signal.SIGTERM)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for caught_number in caught:
            signal.raise_signal(caught_number)


def _serve(connection: Connection, log: str, entry: PeerEntry, setup: Setup) -> None:
    """Answer requests until the other end of the pipe is closed."""
    os.setsid()  # a group of its own, so that the children of the peer end with it
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    service = _Service(entry, setup)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            name, arguments = connection.recv()
            connection.send(_answer(getattr(service, name), arguments))


def _answer(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
    try:
        return call(*arguments)
    except NotMeasured as reason:
        return reason
    except Exception as error:  # noqa: BLE001 - whatever a peer raises becomes a row
        text = " ".join(str(error).split()) or "no message"
        return Failed(f"{type(error).__name__}: {text[:300]}")


class _Service:
    """Requests by name, in the process of the peer."""

    def __init__(self, entry: PeerEntry, setup: Setup) -> None:
        self._entry, self._setup = entry, setup
        self._ready: list[Ready] = []

    def create(self) -> dict[str, str]:
        self._peer, versions = self._entry.create()
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

    def repeat(self, number: int, seconds: float, most: int) -> tuple[float, ...]:
        return repeat(self._ready[number].call, seconds, most)

    def peak_memory(self) -> int:
        status = Path("/proc/self/status")
        if status.is_file():  # ru_maxrss may be inherited from the process that forked this one
            lines = status.read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = call()
    return time.perf_counter() - begin, found


def repeat(call: Callable[[], Any], seconds: float, most: int) -> tuple[float, ...]:
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
    return tuple(times)
