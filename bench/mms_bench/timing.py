"""Calls a function again and again, and reads the memory of this process."""

import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def repeat(
    call: Callable[[], object],
    seconds: float,
    most: int,
    before: Callable[[], None] | None = None,
) -> tuple[float, ...]:
    """Call until `seconds` have passed, at least once, at most `most` times.

    Args:
        call: What is timed.
        seconds: How long, what `before` takes included.
        most: Number of calls.
        before: Brings about the state that each call begins in; not timed.

    Returns:
        The seconds of each call.
    """
    times: list[float] = []
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        while not times or (time.perf_counter() < end and len(times) < most):
            if before is not None:
                before()
            times.append(timed(call))
    finally:
        gc.enable()
    return tuple(times)


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory() -> int:
    """Return the largest resident set this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss may be inherited from the process that forked this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
