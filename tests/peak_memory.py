"""Peak of this process's resident memory, from a point in time on.

`ru_maxrss` does not do: it never falls, and a process may have it from the one that started it.
"""

from pathlib import Path

_RESET_PEAK = "5"


def begin_peak() -> int:
    """Let the peak begin anew; return the resident memory in bytes."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    return peak_bytes()


def peak_bytes() -> int:
    """Return the peak since `begin_peak` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
