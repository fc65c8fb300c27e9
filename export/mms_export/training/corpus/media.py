"""Recordings of annotation documents, which often name them by paths of another machine."""

import os
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from mms_export.training.corpus.clip import Unusable


def path_of_url(url: str) -> str:
    """Return the path that a URL of a document names: `file:///a%20b.wav`, `./a.wav`."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path if parts.scheme == "file" else url
    return os.fsdecode(urllib.parse.unquote_to_bytes(path))


class Recordings:
    """Recordings beside annotation documents, and in folders that the user names.

    A folder is listed once.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        """Take the folders to search at any depth."""
        self._folders = tuple(folders)
        self._files: dict[tuple[Path, bool], list[Path]] = {}

    def find(self, document: Path, named: Sequence[str]) -> Path:
        """Return the recording of a document.

        That is, in this order: a path that it names; a file of such a name, then of the document's
        own name, then of its name but for what follows the last hyphen, beside it or in the
        folders. Case does not matter, nor for the document's own name which suffix of audio or
        video follows.

        Args:
            document: The document.
            named: Paths that it names, relative to it or absolute, the best first.

        Raises:
            Unusable: there is none, or one of several.
        """
        for name in named:
            path = document.parent / name
            if "\0" not in name and path.is_file():
                return path
        files = self._list(document.parent, is_deep=False)
        for folder in self._folders:
            files = files + self._list(folder, is_deep=True)
        for name in named:
            base = _base(name).lower()
            found = [file for file in files if file.name.lower() == base]
            if found:
                return _only(document, found)
        stem = document.stem.lower()
        for wanted in dict.fromkeys((stem, stem.rpartition("-")[0] or stem)):
            for suffixes in _suffixes():
                found = [f for f in files if f.suffix.lower() in suffixes and _is_named(f, wanted)]
                if found:
                    return _only(document, found)
        what = f"{_base(named[0])}, which it names" if named else f"{document.stem}.wav"
        raise Unusable(f"its recording is not found: {what}; name its folder with --media")

    def _list(self, folder: Path, *, is_deep: bool) -> list[Path]:
        """Return the recordings in a folder."""
        key = folder, is_deep
        if key not in self._files:
            paths = folder.rglob("*") if is_deep else folder.iterdir()
            known = frozenset().union(*_suffixes())
            self._files[key] = sorted(p for p in paths if p.suffix.lower() in known)
        return self._files[key]


def _base(path: str) -> str:
    """Return the last part of a path with slashes of either kind."""
    return PureWindowsPath(path).name


def _is_named(file: Path, wanted: str) -> bool:
    stem = file.stem.lower()
    return wanted in (stem, stem.rpartition("-")[0])


def _only(document: Path, found: Sequence[Path]) -> Path:
    """Return the one file, of copies of a recording the one beside the document or the first."""
    if len({(file.stem.lower(), file.stat().st_size) for file in found}) > 1:
        names = ", ".join(str(file) for file in found[:3])
        raise Unusable(
            f"several recordings may be its own, {names}: give {document.name} the name of one"
        )
    return found[0]


def _suffixes() -> tuple[frozenset[str], frozenset[str]]:
    """Return the suffixes of audio and of video files."""
    from mms_engine.audio.probe import AUDIO_SUFFIXES, VIDEO_SUFFIXES  # imports NumPy

    return AUDIO_SUFFIXES, VIDEO_SUFFIXES
