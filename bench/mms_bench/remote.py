"""The measuring side of a worker process."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Literal, Self

import msgspec

from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere, WorkerFailed
from mms_bench.messages import Answer, Begin, Order, Workload
from mms_bench.peers.base import Setup

COMMAND = (sys.executable, "-m", "mms_bench.worker")


class Worker:
    """A peer in a process of its own. Used in a `with` block, it never outlives the block."""

    def __init__(self, peer: str, setup: Setup, *, command: tuple[str, ...] = COMMAND) -> None:
        """Start the process and make the peer.

        Raises:
            NotHere: the peer cannot run here.
            WorkerFailed: it failed to start.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        # A session of its own: Ctrl-C reaches the measuring process only, which then ends this one.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | _thread_limits(setup.threads),
            start_new_session=True,
        )
        try:
            answer = self._ask(Begin(peer=peer, setup=setup))
        except BaseException:
            self.close()
            raise
        self.versions = answer.versions or {}
        self.precision = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def build(self) -> None:
        """Make the peer's files."""
        self._ask(Order(step="build"))

    def prepare(self) -> float:
        """Load the model and return the seconds it took."""
        answer = self._ask(Order(step="prepare"))
        self.precision = answer.precision
        return answer.seconds[0]

    def first(self, work: Workload | Task, *, keep: str = "") -> float:
        """Make the first call, keep its result in the folder `keep`, return its seconds."""
        return self._ask(_order("first", work, keep=keep)).seconds[0]

    def repeat(self, work: Workload | Task, seconds: float, most: int) -> tuple[float, ...]:
        """Call for about `seconds`, at least once; return the seconds of each call."""
        return self._ask(_order("repeat", work, seconds=seconds, most=most)).seconds

    def peak_memory(self) -> int:
        """Return the largest resident set so far, in bytes."""
        return self._ask(Order(step="memory")).peak_memory

    def close(self) -> None:
        """End the process and all it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _ask(self, message: Begin | Order) -> Answer:
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise WorkerFailed(self._epitaph())
        answer = msgspec.json.decode(line, type=Answer)
        if answer.not_here:
            raise NotHere(answer.not_here)
        if answer.error:
            raise WorkerFailed(answer.error)
        return answer

    def _epitaph(self) -> str:
        """Say how the process ended and the last thing it said."""
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with {how}{': ' + lines[-1].strip() if lines else ''}"


def _order(
    step: Literal["first", "repeat"],
    work: Workload | Task,
    *,
    seconds: float = 0.0,
    most: int = 1,
    keep: str = "",
) -> Order:
    """Name the work by its kind."""
    return Order(
        step=step,
        workload=work if isinstance(work, Workload) else None,
        task=work if isinstance(work, Task) else None,
        seconds=seconds,
        most=most,
        keep=keep,
    )


def _thread_limits(threads: int) -> dict[str, str]:
    """Limit the pools that libraries size for themselves before a peer can."""
    return {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
