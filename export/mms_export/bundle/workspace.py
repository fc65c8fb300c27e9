"""Workspace: the folder of an export, its lock, journal and manifest."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from mms_engine.bundle import MANIFEST, Manifest
from mms_engine.bundle.files import atomic_open, check_name, partials
from mms_engine.bundle.manifest import decode, encode
from mms_engine.errors import BundleError
from mms_export.bundle.inventory import Inventory, Parts

JOURNAL = ".export-journal"
FOLDERS = ("graphs", "adapters", "voices", "plans")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder` and lock it for this process.

    Raises:
        BundleError: the folder is not writable, its name is not UTF-8, or another export holds it.
    """
    check_name(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise BundleError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BundleError(f"cannot write to {folder}: permission denied")
        yield
    except BlockingIOError as error:
        raise BundleError(f"another process is writing to {folder}: wait until it ends") from error
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """First line of a journal."""

    fingerprint: str
    data_dtype: str
    """Parts of another fingerprint or dtype are ignored."""
    token: str = ""
    """Part of the names of files that are not finished."""
    files: tuple[str, ...] = ()
    """Files that this export, or an unfinished one before it, may have written."""


class Workspace:
    """Folder of an export: finished parts are journalled, and the manifest is written last.

    Only files that a manifest or the journal names, and unfinished ones with the journal's token,
    are ever removed.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder = folder
        self._journal = folder / JOURNAL
        self._manifest = folder / MANIFEST
        earlier, self._lines = self._read_journal()
        self._is_same = earlier is not None and (
            (earlier.fingerprint, earlier.data_dtype) == (header.fingerprint, header.data_dtype)
        )
        self.token = earlier.token if earlier and earlier.token else secrets.token_hex(16)
        self._files = set(earlier.files) if earlier else set()
        for content in (_read(self._manifest), *self._lines):
            self._files.update(_named_files(content))
        self._header = header

    def _read_journal(self) -> tuple[Header | None, list[bytes]]:
        """Return the header and the complete lines of an interrupted export's journal."""
        # An export killed while writing leaves an incomplete last line.
        header, *lines = _read(self._journal).split(b"\n")
        try:
            return msgspec.json.decode(header, type=Header), lines[:-1]
        except msgspec.MsgspecError:
            return None, []

    def claim(self, paths: Iterable[Path], *, may_replace: bool) -> None:
        """Check that the files to write are not someone else's; call before `begin`.

        Raises:
            BundleError: a file is there that no export has written, unless `may_replace`.
        """
        for path in paths:
            name = path.relative_to(self.folder).as_posix()
            if name not in self._files and os.path.lexists(path) and not may_replace:
                raise BundleError(
                    f"{path} is there already and was not written by an export: choose another "
                    "--out, or give --replace to overwrite it"
                )
            self._files.add(name)

    def read_manifest(self) -> Manifest | None:
        """Return the manifest of an earlier export, if one finished here.

        Raises:
            BundleError: it is damaged, or of another schema.
        """
        path = self._manifest
        return decode(path.read_bytes(), where=str(path)) if path.is_file() else None

    def resume(self, inventory: Inventory) -> None:
        """Add the parts recorded by an interrupted export."""
        if self._is_same:
            with contextlib.suppress(msgspec.MsgspecError):
                for line in self._lines:
                    inventory.add(msgspec.json.decode(line, type=Parts))

    def record(self, parts: Parts) -> None:
        """Append finished parts to the journal, flushed to disk.

        Raises:
            BundleError: the file system refused.
        """
        self._files.update(_named_files(line := msgspec.json.encode(parts) + b"\n"))
        self._append(line)

    def _append(self, content: bytes) -> None:
        try:
            with self._journal.open("ab") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise BundleError(
                f"cannot write {self._journal}: {error.strerror}. Free some space or choose "
                "another folder, then run the same command again to continue"
            ) from error

    def begin(self, inventory: Inventory) -> None:
        """Start a journal with the parts that are here already."""
        header = replace(self._header, token=self.token, files=tuple(sorted(self._files)))
        content = msgspec.json.encode(header) + b"\n"
        if inventory != Inventory():
            content += msgspec.json.encode(inventory.parts()) + b"\n"
        if self._journal.exists():
            with atomic_open(self._journal) as stream:
                stream.write(content)
        else:  # nothing to lose, and no journal yet that would name a partial file
            self._append(content)

    def retract(self, manifest: Manifest) -> None:
        """Replace the manifest by a smaller one, or remove it when no graph is left."""
        if manifest.graphs:
            self.publish(manifest)
        else:
            self._manifest.unlink(missing_ok=True)

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes the folder a bundle."""
        content = encode(manifest)
        if not self._manifest.is_file() or self._manifest.read_bytes() != content:
            with atomic_open(self._manifest) as stream:
                stream.write(content)

    def finish(self, manifest: Manifest) -> None:
        """Remove files that have been replaced, then the journal."""
        self._remove(self._files - {file.path for file in manifest.files()})
        self._journal.unlink(missing_ok=True)
        self.sweep()

    def clear(self) -> None:
        """Remove the whole bundle, its manifest first."""
        self._manifest.unlink()
        self._remove(self._files)
        for part in FOLDERS:
            with contextlib.suppress(OSError):  # someone else's files are in it
                (self.folder / part).rmdir()
        self._journal.unlink(missing_ok=True)
        self._lines, self._files = [], set()

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.folder / name
            inside = path.resolve().is_relative_to(self.folder.resolve())
            if inside and PurePosixPath(name).parts[0] in FOLDERS:
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the unfinished files of this export, or of a killed one before it."""
        for part in ("", *FOLDERS):
            for leftover in partials(self.folder / part, self.token):
                leftover.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _named_files(content: bytes) -> Iterator[str]:
    """Yield the paths of all file entries in a manifest or journal line of any schema."""
    try:
        waiting = [msgspec.json.decode(content)]
    except msgspec.MsgspecError:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if {"path", "sha256"} <= value.keys() and isinstance(value["path"], str):
                yield value["path"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
