"""CPU cores and memory of this process, the cache folders of its user, names of files as text."""

import contextlib
import ctypes
import os
import platform
import re
from math import ceil
from pathlib import Path

import platformdirs

APPLICATION = "mms-engine"
_GROUP = Path("/sys/fs/cgroup")
_QUOTA = _GROUP / "cpu.max"
_MEMORY = Path("/proc/meminfo")


def usable_cores() -> int:
    """Return the cores of the process's affinity, or fewer where its control group allows less."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota = parse_quota(_QUOTA.read_text(encoding="ascii"))
    except (OSError, ValueError):
        quota = None
    return cores if quota is None else min(cores, quota)


def parse_quota(text: str) -> int | None:
    """Return the cores that a control group's `cpu.max` allows; `None` for no bound.

    Raises:
        ValueError: the text is not the content of that file.
    """
    quota, period = text.split()
    return None if quota == "max" else max(1, ceil(int(quota) / int(period)))


_NO_CACHE = Path("/nonexistent", APPLICATION)
"""Cache folder of a user without a home folder: nothing can be written there."""


def cache_folder() -> Path:
    """Return the user's cache folder of this application; `XDG_CACHE_HOME` moves it on Linux."""
    try:
        path = Path(platformdirs.user_cache_dir(APPLICATION))
    except RuntimeError:  # no home folder; older releases return a folder named ~
        return _NO_CACHE
    return _NO_CACHE if path.parts[0] == "~" else path


def demo_bundle(name: str = "demo") -> Path:
    """Return the folder that `mms-export --model NAME` writes, the default bundle of commands."""
    return cache_folder() / "bundles" / name


def printable(name: str) -> str:
    r"""Return a file name as valid Unicode: bytes that are not UTF-8 become `\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def processor_name() -> str:
    """Return the model name of the processor, or its architecture where it has none."""
    return cpu_info("model name") or platform.processor() or platform.machine()


def cpu_info(*names: str) -> str:
    """Return the first value under one of `names` in /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^(?:{'|'.join(names)})\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # parameters of mallopt(3)
_RETURNED_BYTES = 1 << 20


def return_freed_memory() -> None:
    """Make glibc's malloc give freed memory back, so that a process of many threads stays small.

    By default threads get up to eight heaps a core, in which blocks of up to 32 MiB stay once they
    are freed. Variables of the environment such as `MALLOC_ARENA_MAX` have precedence; with another
    C library nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for variable, parameter, value in (
        ("MALLOC_ARENA_MAX", _ARENA_MAX, max(2, usable_cores())),
        ("MALLOC_MMAP_THRESHOLD_", _MMAP_THRESHOLD, _RETURNED_BYTES),
    ):
        if variable not in os.environ:
            mallopt(parameter, value)


def available_memory() -> int | None:
    """Return the bytes that this process can still allocate without swapping; `None` if unknown.

    A control group's limit counts too; caches of files, which the kernel frees, do not.
    """
    known = []
    with contextlib.suppress(OSError, ValueError, TypeError):
        text = _MEMORY.read_text(encoding="ascii")
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", text, re.MULTILINE)
        known.append(int(found[1]) << 10)  # type: ignore[index]  # a TypeError where it is missing
    with contextlib.suppress(OSError, ValueError, KeyError):
        limit = int((_GROUP / "memory.max").read_text(encoding="ascii"))  # "max" is a ValueError
        lines = (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        used = dict(line.split() for line in lines)
        known.append(limit - int(used["anon"]) - int(used["kernel"]))
    return min(known, default=None)
