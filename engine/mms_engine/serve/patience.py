"""Time limit of waits that are begun often and seldom run out."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

_Result = TypeVar("_Result")


class Patience:
    """Time limit of one task's waits, for one at a time.

    Unlike `asyncio.timeout`, a wait that ends in time sets no timer: the timer of an earlier one
    is left to run, and finds out whether the present one has time left.
    """

    def __init__(self) -> None:
        """Set no timer yet."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._due = math.inf
        self._is_over = False

    async def wait(self, work: Awaitable[_Result], seconds: float) -> _Result:
        """Return the result of what is awaited.

        Args:
            work: What is awaited.
            seconds: Time for it; `math.inf` for any.

        Raises:
            TimeoutError: it did not end in time, and was cancelled.
        """
        self._due = self._loop.time() + seconds
        self._task = asyncio.current_task()
        if self._timer is None or self._timer.when() > self._due:
            self._set()
        try:
            return await work
        except asyncio.CancelledError:
            if not self._is_over:
                raise
            self._is_over = False
            if self._task is not None and self._task.uncancel():
                raise  # by others too
            raise TimeoutError from None
        finally:
            self._task = None

    def _set(self) -> None:
        self.close()
        if self._due < math.inf:
            self._timer = self._loop.call_at(self._due, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._due:
            self._set()
            return
        self._is_over = True
        self._task.cancel()

    def close(self) -> None:
        """Free the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
