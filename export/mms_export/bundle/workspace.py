"""Workspace: the folder of an export, its lock, journal and manifest."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mms_engine.bundle import MANIFEST, Manifest
from mms_engine.bundle.files import PARTIAL_SUFFIX, atomic_open
from mms_engine.bundle.manifest import decode, encode
from mms_engine.errors import BundleError
from mms_export.bundle.inventory import Inventory, Parts

JOURNAL = ".export-journal"
FOLDERS = ("graphs", "adapters", "voices", "plans")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder` and lock it for this process.

    Raises:
        BundleError: the folder is not writable, or another export holds it.
    """
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
        raise BundleError(f"another export is writing to {folder}: wait until it ends") from error
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """First line of a journal; entries under another header are ignored."""

    fingerprint: str
    data_dtype: str


class Workspace:
    """Folder of an export: finished parts are journalled, and the manifest is written last."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder = folder
        self._journal = folder / JOURNAL
        self._manifest = folder / MANIFEST
        self._header = header

    def read_manifest(self) -> Manifest | None:
        """Return the manifest of an earlier export, if one finished here.

        Raises:
            BundleError: it is damaged, or of another schema.
        """
        path = self._manifest
        return decode(path.read_bytes(), where=str(path)) if path.is_file() else None

    def resume(self, inventory: Inventory) -> None:
        """Add the parts recorded by an interrupted export."""
        content = self._journal.read_bytes() if self._journal.is_file() else b""
        header, *lines = content.split(b"\n")
        try:
            if msgspec.json.decode(header, type=Header) != self._header:
                return
            # An export killed while writing leaves an incomplete last line.
            for line in lines[:-1]:
                inventory.add(msgspec.json.decode(line, type=Parts))
        except msgspec.MsgspecError:
            return

    def record(self, parts: Parts) -> None:
        """Append finished parts to the journal, flushed to disk.

        Raises:
            BundleError: the file system refused.
        """
        try:
            with self._journal.open("ab") as stream:
                stream.write(msgspec.json.encode(parts) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise BundleError(
                f"cannot write {self._journal}: {error.strerror}. Free some space or choose "
                "another folder, then run the same command again to continue"
            ) from error

    def begin(self, inventory: Inventory) -> None:
        """Start a journal with the parts that are here already."""
        with atomic_open(self._journal) as stream:
            stream.write(msgspec.json.encode(self._header) + b"\n")
            if inventory != Inventory():
                stream.write(msgspec.json.encode(inventory.parts()) + b"\n")

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
        """Remove the journal, and plans that have been replaced."""
        named = {self.folder / plan.file.path for plan in manifest.plans}
        for path in (self.folder / "plans").glob("*.plan"):
            if path not in named:
                path.unlink()
        self._journal.unlink(missing_ok=True)
        self.sweep()

    def clear(self) -> None:
        """Remove the whole bundle, its manifest first."""
        self._manifest.unlink()
        self._journal.unlink(missing_ok=True)
        for part in FOLDERS:
            shutil.rmtree(self.folder / part, ignore_errors=True)

    def sweep(self) -> None:
        """Remove incomplete files of a killed export."""
        for leftover in self.folder.rglob(f"*{PARTIAL_SUFFIX}"):
            leftover.unlink(missing_ok=True)
