"""How many cores this process may use, which in a container are fewer than the machine has."""

import os
from math import ceil
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


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
    """Return the cores that a control group's `cpu.max` allows, `None` for no bound.

    Raises:
        ValueError: the text is not of that file.
    """
    quota, period = text.split()
    return None if quota == "max" else max(1, ceil(int(quota) / int(period)))
