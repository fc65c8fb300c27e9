"""Worker processes: calls in fresh processes, which end with this one."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from mms_engine.bundle.files import current_token, partial_token
from mms_engine.errors import MmsError

_partial_names = contextlib.ExitStack()
"""Open until this process ends."""
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def run_isolated(
    function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs
) -> _Result:
    """Call a module's function in a fresh process and return its result.

    Raises:
        MmsError: the process was killed, most likely for lack of memory.
    """
    with Workers(1) as workers:
        return workers.submit(function, *args, **kwargs).result()


def run_reporting(
    function: Callable[..., _Result],
    advance: Callable[[int], object],
    *args: Any,  # noqa: ANN401
) -> _Result:
    """Call a function in a fresh process; its first argument forwards progress to `advance`.

    Raises:
        MmsError: the process was killed, most likely for lack of memory.
    """
    listener, speaker = multiprocessing.get_context("spawn").Pipe(duplex=False)

    def listen() -> None:
        while (step := listener.recv()) is not None:
            advance(step)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        with Workers(1) as workers:
            return workers.submit(_reporting, speaker, function, *args).result()
    finally:
        # The process has ended, whether or not it received its end of the pipe.
        speaker.send(None)
        thread.join()
        speaker.close()
        listener.close()


def _reporting(speaker: Connection, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
    with speaker:
        return function(speaker.send, *args)


class Workers(ProcessPoolExecutor):
    """Pool of fresh processes that end with this one, however it ends, and ignore other signals."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        # A hangup would end the process that tracks semaphores, and its successor not know them.
        with _no_signals_for_children():
            resource_tracker.ensure_running()
        # Workers end when `_alive` closes, which also happens when this process is killed.
        listener, self._alive = context.Pipe(duplex=False)
        super().__init__(
            count,
            mp_context=context,
            initializer=_start,
            initargs=(listener, current_token()),
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes, at once after an error.

        Raises:
            MmsError: one of them was killed, most likely for lack of memory.
        """
        if kind is not None:
            self._alive.close()
        self.shutdown(wait=True, cancel_futures=True)
        self._alive.close()
        if isinstance(error, BrokenProcessPool):
            raise MmsError(
                "a worker process was killed, perhaps because memory ran out: free some memory, "
                "then run the same command again to continue"
            ) from error

    def submit(
        self, function: Callable[_Given, _Result], /, *args: _Given.args, **kwargs: _Given.kwargs
    ) -> Future[_Result]:
        """Submit a call."""
        with _no_signals_for_children():
            return super().submit(function, *args, **kwargs)


@contextlib.contextmanager
def _no_signals_for_children() -> Iterator[None]:
    """Start processes with signals blocked; in this process they are delivered after the block.

    Children inherit the blocked signals, and end with this process. Ignoring a signal in the child
    would come too late: interrupted during its imports, it prints a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with _deferred_handlers():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _deferred_handlers() -> Iterator[None]:
    """Run Python's handlers after the block: another thread may receive a blocked signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in _SIGNALS
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _start(listener: Connection, token: str | None) -> None:
    """End this process when the other end of a pipe is closed; name its partial files."""
    _partial_names.enter_context(partial_token(token))

    def watch() -> None:
        wait([listener])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
