"""Time limits of waits."""

import asyncio
import functools
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mms_engine.serve.patience import Patience


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Return a test that runs on an event loop of its own."""

    @functools.wraps(test)
    def run_test() -> None:
        asyncio.run(test())

    return run_test


async def _forever() -> None:
    await asyncio.Event().wait()


async def _later(seconds: float, value: int) -> int:
    await asyncio.sleep(seconds)
    return value


@run
async def test_wait_that_runs_out() -> None:
    patience, loop = Patience(), asyncio.get_running_loop()
    for seconds in (0.2, 0.05, 0.1):  # a shorter one behind a longer, and the reverse
        begin = loop.time()
        with pytest.raises(TimeoutError):
            await patience.wait(_forever(), seconds)
        assert seconds <= loop.time() - begin < seconds + 0.5
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@run
async def test_timer_of_an_earlier_wait_spares_a_later_one() -> None:
    patience = Patience()
    assert await patience.wait(_later(0, 1), 0.1) == 1
    await asyncio.sleep(0.05)
    assert await patience.wait(_later(0.1, 2), 0.2) == 2  # the first timer ran out within
    with pytest.raises(TimeoutError):
        await patience.wait(_forever(), 0.05)


@run
async def test_wait_without_limit() -> None:
    patience = Patience()
    assert await patience.wait(_later(0, 1), 0.05) == 1
    assert await patience.wait(_later(0.15, 2), math.inf) == 2


@run
async def test_cancelled_wait_is_cancelled() -> None:
    waiting = asyncio.ensure_future(Patience().wait(_forever(), 10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@run
async def test_messages_in_time_set_one_timer() -> None:
    patience, loop = Patience(), asyncio.get_running_loop()
    await patience.wait(_later(0, 0), 60)
    before = len(loop._scheduled)  # type: ignore[attr-defined]
    for _ in range(100):
        await patience.wait(_later(0, 0), 60)
    assert len(loop._scheduled) == before  # type: ignore[attr-defined]
    patience.close()
