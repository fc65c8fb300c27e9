"""Threads given to clients in turn."""

import asyncio
import threading

import pytest

from mms_engine.serve.slots import FairSlots


def test_clients_that_wait_are_served_in_turn() -> None:
    order: list[str] = []

    async def run() -> None:
        slots = FairSlots(1, "test")
        gate = threading.Event()
        first = asyncio.create_task(slots.run("a", gate.wait))
        calls = [("a", n) for n in range(4)] + [("b", n) for n in range(2)]
        tasks = []
        for client, number in calls:
            await asyncio.sleep(0)
            work = lambda name=f"{client}{number}": order.append(name)  # noqa: E731
            tasks.append(asyncio.create_task(slots.run(client, work)))
        await asyncio.sleep(0.01)
        assert slots.waiting == 6
        gate.set()
        await asyncio.gather(first, *tasks)
        slots.close()

    asyncio.run(run())
    assert order == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_work_of_a_client_that_left_keeps_its_thread() -> None:
    """Else leaving would be a way to run more at once than there are threads."""

    async def run() -> None:
        slots = FairSlots(1, "test")
        gate, ran = threading.Event(), threading.Event()
        left = asyncio.create_task(slots.run("a", gate.wait))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        waiting = asyncio.create_task(slots.run("b", ran.set))
        gone = asyncio.create_task(slots.run("c", ran.set))
        await asyncio.sleep(0.05)
        assert not ran.is_set()
        gone.cancel()
        gate.set()
        await waiting
        assert ran.is_set()
        assert await slots.run("d", lambda: 7) == 7
        slots.close()

    asyncio.run(run())


def test_work_waits_for_room() -> None:
    async def run() -> None:
        room = False
        slots = FairSlots(2, "test", lambda: room)
        task = asyncio.create_task(slots.run("a", lambda: 1))
        await asyncio.sleep(0.02)
        assert not task.done()
        room = True
        slots.wake()
        assert await task == 1
        slots.close()

    asyncio.run(run())


def test_error_of_the_work_is_raised_and_frees_the_thread() -> None:
    async def run() -> None:
        slots = FairSlots(1, "test")
        with pytest.raises(ZeroDivisionError):
            await slots.run("a", lambda: 1 / 0)
        assert await slots.run("a", lambda: 2) == 2
        slots.close()

    asyncio.run(run())
