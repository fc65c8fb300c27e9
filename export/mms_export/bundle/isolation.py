"""Worker processes: calls in fresh processes, which end with this one."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for_futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, ParamSpec, TypeVar

from mms_engine.errors import MmsError

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Key = TypeVar("_Key")


def run_isolated(
    function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs
) -> _Result:
    """Call a module's function in a fresh process and return its result.

    Raises:
        MmsError: the process was killed, most likely for lack of memory.
    """
    with Workers[None, _Result](1) as workers:
        workers.submit(None, function, *args, **kwargs)
        return next(workers.results())[1]


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
        with Workers[None, _Result](1) as workers:
            workers.submit(None, _reporting, speaker, function, *args)
            return next(workers.results())[1]
    finally:
        # The process has ended, whether or not it received its end of the pipe.
        speaker.send(None)
        thread.join()
        speaker.close()
        listener.close()


def _reporting(speaker: Connection, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
    with speaker:
        return function(speaker.send, *args)


class Workers(Generic[_Key, _Result]):
    """Pool of fresh processes that end with this one, however it ends, and ignore Ctrl-C."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        # Workers end when `_alive` closes, which also happens when this process is killed.
        listener, self._alive = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_end_with, initargs=(listener,)
        )
        self._pending: dict[Future[_Result], _Key] = {}

    def __enter__(self) -> "Workers[_Key, _Result]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._alive.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._alive.close()

    def submit(
        self,
        key: _Key,
        function: Callable[_Given, _Result],
        *args: _Given.args,
        **kwargs: _Given.kwargs,
    ) -> None:
        """Submit a call, whose result `results` yields with `key`."""
        with _no_interrupts_for_children():
            self._pending[self._pool.submit(function, *args, **kwargs)] = key

    def results(self) -> Iterator[tuple[_Key, _Result]]:
        """Yield each key and result when it is ready.

        Raises:
            MmsError: a process was killed, most likely for lack of memory.
        """
        try:
            while self._pending:
                done, _ = wait_for_futures(self._pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield self._pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise MmsError(
                "a worker process was killed, perhaps because memory ran out: free some memory, "
                "then run the same command again to continue"
            ) from error


@contextlib.contextmanager
def _no_interrupts_for_children() -> Iterator[None]:
    """Start processes with Ctrl-C blocked; in this process it is delivered after the block.

    Children inherit the blocked signals. Ignoring the signal in the child would come too late:
    interrupted during its imports, it prints a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(listener: Connection) -> None:
    """End this process when the other end of a pipe is closed."""

    def watch() -> None:
        wait([listener])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
