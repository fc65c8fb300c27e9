"""Threads for the work of requests, given to clients in turn."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")


class FairSlots:
    """A number of threads. Used on the event loop only.

    Clients that wait are served in turn, so that one with much work does not keep out the others.
    Work that runs keeps its thread to its end, also when its client has left: leaving cannot be
    used to run more at once.
    """

    def __init__(self, count: int, name: str, has_room: Callable[[], bool] = lambda: True) -> None:
        """Open no thread yet.

        Args:
            count: Number of threads.
            name: Name of the threads.
            has_room: Returns whether further work may begin; see `wake`.
        """
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._free = count
        self._has_room = has_room
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def free(self) -> int:
        """Threads without work."""
        return self._free

    @property
    def waiting(self) -> int:
        """Requests that wait for a thread."""
        return sum(map(len, self._waiting.values()))

    async def run(self, client: str, work: Callable[[], _Result]) -> _Result:
        """Return the result of work that was run in a thread, when it was the client's turn."""
        await self._take(client)
        loop = asyncio.get_running_loop()
        try:
            future = self._executor.submit(work)
        except BaseException:
            self._release()
            raise
        future.add_done_callback(lambda _: self._release_from_thread(loop))
        return await asyncio.wrap_future(future)

    async def _take(self, client: str) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(granted)
        self.wake()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._release()
            raise

    def wake(self) -> None:
        """Begin what may begin; to be called when `has_room` may have changed."""
        while self._free and self._waiting and self._has_room():
            client, queue = next(iter(self._waiting.items()))
            granted = queue.popleft()
            if queue:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            if not granted.done():  # else the client has left
                self._free -= 1
                granted.set_result(None)

    def _release_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._free += 1
        self.wake()

    def close(self) -> None:
        """End the threads after their work."""
        self._executor.shutdown(wait=False, cancel_futures=True)
