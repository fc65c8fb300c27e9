"""Stamps: files whose digest was checked, remembered in the user's cache folder.

A stamp is an empty file whose name is a digest of the checked file's path, state and SHA-256. It
promises that the file system reports no change since a process of this user read the file and
found that SHA-256. Every write changes the time of change, which programs cannot set; only what
goes past the file system's clock stays unseen: damage of the disk, a clock that was set back, the
server of a network file system, a program that had mapped the file for writing while it was read.
"""

import contextlib
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from mms_engine.system import cache_folder

_SETTLED_NS = 2_000_000_000
"""Age of the last change from which a stamp is given: a later write within the resolution of the
file system's clock (2 s on FAT) would leave the times as they are."""
_MOST = 20_000
"""Stamps kept; beyond them the older half is removed."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class FileState(NamedTuple):
    """State of a file that any change of its content changes."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Time of the last change of content, name or permissions; on Windows that of creation."""

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Return the state of the file at a path, with links followed."""
        status = path.stat()
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def stamps_folder() -> Path:
    """Return the folder of the stamps."""
    return cache_folder() / "stamps"


def is_stamped(path: Path, state: FileState, sha256: str) -> bool:
    """Return whether a file had a SHA-256 in a state; false where no stamp can be trusted."""
    folder = stamps_folder()
    return is_private(folder) and (folder / _name(path, state, sha256)).is_file()


def stamp(path: Path, state: FileState, sha256: str, read_ns: int) -> None:
    """Remember that a file has a SHA-256 in a state; do nothing where that cannot be kept.

    Args:
        path: The file.
        state: Its state before and after it was read.
        sha256: Its digest, in lower-case hex.
        read_ns: Time at which reading began, in nanoseconds since the epoch.
    """
    if max(state.modified_ns, state.changed_ns) > read_ns - _SETTLED_NS:
        return
    folder = stamps_folder()
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_private(folder):
            (folder / _name(path, state, sha256)).touch(mode=0o600)
            _prune(folder)


def forget(path: Path, state: FileState, sha256: str) -> None:
    """Remove the stamp of a file that turned out to be damaged."""
    with contextlib.suppress(OSError):
        (stamps_folder() / _name(path, state, sha256)).unlink(missing_ok=True)


def clear() -> int:
    """Remove every stamp, and return how many there were."""
    folder = stamps_folder()
    found = list(folder.iterdir()) if is_private(folder) else []
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def settle(state: FileState) -> None:
    """Wait until a file that was just written is old enough for a stamp, two seconds."""
    latest = max(state.modified_ns, state.changed_ns) + _SETTLED_NS
    time.sleep(min(_SETTLED_NS, max(0, latest - time.time_ns() + 1)) / 1e9)


def is_private(folder: Path) -> bool:
    """Return whether a folder is the user's own, and writable by nobody else."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if not hasattr(os, "geteuid"):  # Windows: a user's cache folder is private
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE


def _name(path: Path, state: FileState, sha256: str) -> str:
    parts = [os.fsencode(path.resolve()), *(str(value).encode() for value in state)]
    return hashlib.sha256(b"\0".join([*parts, sha256.encode()])).hexdigest()


def _prune(folder: Path) -> None:
    with os.scandir(folder) as entries:
        found = list(entries)
    if len(found) > _MOST:
        found.sort(key=lambda entry: entry.stat().st_mtime_ns)
        for entry in found[: len(found) // 2]:
            Path(entry).unlink(missing_ok=True)
