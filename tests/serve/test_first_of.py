"""Works of a connection that run beside each other."""

import asyncio
import gc
import weakref

import pytest

from mms_engine.serve.sockets import first_of


class Held:
    """Something that a work holds."""


def test_works_are_freed_with_the_error_that_ended_them() -> None:
    """At once, and not when the collector of circular garbage comes by."""
    held = Held()
    dead = weakref.ref(held)

    async def fail(_: Held) -> None:
        raise ValueError("broken")

    async def wait(_: Held) -> None:
        await asyncio.Event().wait()

    async def run(own: Held) -> None:
        with pytest.raises(ValueError, match="broken"):
            await first_of(fail(own), wait(own))

    gc.disable()
    try:
        asyncio.run(run(held))
        del held
        assert dead() is None
    finally:
        gc.enable()


def test_cancelled_while_it_waits() -> None:
    async def run() -> None:
        task = asyncio.ensure_future(first_of(asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
