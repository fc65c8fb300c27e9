"""Search of folders for recordings."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mms_engine.audio.probe import is_recording


@dataclass(slots=True)
class Contents:
    """Files below a folder, hidden ones excepted."""

    recordings: list[Path] = field(default_factory=list)
    """Files to transcribe, sorted."""
    skipped: list[Path] = field(default_factory=list)
    """Other files, sorted."""
    unreadable: list[OSError] = field(default_factory=list)
    """Folders that cannot be listed, in no order."""


def search_folder(folder: Path, excluded: Path | None) -> Contents:
    """Return the contents of a folder and its subfolders, hidden ones excepted.

    Symbolic links are followed; a folder that several paths lead to is listed once.

    Args:
        folder: Folder to search.
        excluded: Subfolder that is passed over, such as that of the output.
    """
    contents = Contents()
    for path in sorted(_files(folder, excluded, contents.unreadable)):
        is_audio = path.is_file() and is_recording(path)
        (contents.recordings if is_audio else contents.skipped).append(path)
    return contents


def _files(folder: Path, excluded: Path | None, unreadable: list[OSError]) -> Iterator[Path]:
    listed = {_identity(excluded)} - {_identity(folder), None}
    waiting = [str(folder)]
    while waiting:
        for root, folders, files in os.walk(waiting.pop(0), onerror=unreadable.append):
            identity = _identity(Path(root))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if identity in listed:
                folders.clear()
                continue
            listed.add(identity)
            # Behind all others, so that a folder is listed by its own path if that is inside.
            paths = (os.path.join(root, name) for name in folders)  # noqa: PTH118
            waiting += [path for path in paths if os.path.islink(path)]  # noqa: PTH114
            yield from (Path(root, name) for name in files if not name.startswith("."))


def _identity(folder: Path | None) -> tuple[int, int] | None:
    try:
        status = None if folder is None else folder.stat()
    except OSError:
        return None
    return None if status is None else (status.st_dev, status.st_ino)
