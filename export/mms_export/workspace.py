"""The folder a bundle is written in: one writer at a time, and a journal to go on from."""

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
from mms_engine.bundle.schema import Adapter, Graph, Plan, decode, encode
from mms_engine.errors import BundleError
from mms_export.inventory import Inventory

JOURNAL = ".export-journal"
PARTS = ("graphs", "adapters", "plans")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder` and hold it for this process.

    Raises:
        BundleError: it cannot be written to, or another export holds it.
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
class Entry:
    """One finished piece of work, as a line of the journal."""

    graph: Graph | None = None
    language: str = ""
    adapter: Adapter | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the work in a journal belongs to; another header makes it worthless."""

    fingerprint: str
    adapter_dtype: str


class Workspace:
    """Reads what is there, records what is finished, writes the manifest at the end."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder = folder
        self._header = header

    def read_manifest(self) -> Manifest | None:
        """Return the manifest of an earlier export, if one finished here."""
        path = self.folder / MANIFEST
        return decode(path.read_bytes(), where=str(path)) if path.is_file() else None

    def resume(self, inventory: Inventory) -> None:
        """Add the work that an interrupted export has finished and recorded."""
        for entry in self._entries():
            if entry.graph:
                inventory.add_graph(entry.graph)
            if entry.adapter:
                inventory.adapters[entry.language] = entry.adapter
            if entry.plan:
                inventory.add_plan(entry.plan)

    def _entries(self) -> Iterator[Entry]:
        path = self.folder / JOURNAL
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        # What follows the last line break was being written when the export was killed.
        for number, line in enumerate(lines[:-1]):
            try:
                if number == 0:
                    if msgspec.json.decode(line, type=Header) != self._header:
                        return
                else:
                    yield msgspec.json.decode(line, type=Entry)
            except msgspec.MsgspecError:
                return

    def record(self, entry: Entry) -> None:
        """Note finished work, so that it outlives this process."""
        path = self.folder / JOURNAL
        with _writing(path), path.open("ab") as stream:
            stream.write(msgspec.json.encode(entry) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def begin(self, inventory: Inventory) -> None:
        """Start a journal that holds what is there already."""
        graphs = [Entry(graph=graph) for graph in inventory.graphs.values()]
        items = inventory.adapters.items()
        adapters = [Entry(language=code, adapter=adapter) for code, adapter in items]
        plans = [Entry(plan=plan) for plan in inventory.plans.values()]
        with atomic_open(self.folder / JOURNAL) as stream:
            for line in (self._header, *graphs, *adapters, *plans):
                stream.write(msgspec.json.encode(line) + b"\n")

    def retract(self, manifest: Manifest) -> None:
        """Replace the manifest by one that names less; by none where no graph is left."""
        if manifest.graphs:
            self.publish(manifest)
        else:
            (self.folder / MANIFEST).unlink(missing_ok=True)

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest: from now on the folder is a bundle."""
        content = encode(manifest)
        path = self.folder / MANIFEST
        if not path.is_file() or path.read_bytes() != content:
            with atomic_open(path) as stream:
                stream.write(content)

    def finish(self, manifest: Manifest) -> None:
        """Remove what only an unfinished export needs, and plans that others have replaced."""
        named = {self.folder / plan.file.path for plan in manifest.plans}
        for path in (self.folder / "plans").glob("*.plan"):
            if path not in named:
                path.unlink()
        (self.folder / JOURNAL).unlink(missing_ok=True)
        self.sweep()

    def clear(self) -> None:
        """Remove a whole bundle, its manifest first."""
        (self.folder / MANIFEST).unlink()
        (self.folder / JOURNAL).unlink(missing_ok=True)
        for part in PARTS:
            shutil.rmtree(self.folder / part, ignore_errors=True)

    def sweep(self) -> None:
        """Remove half-written files that a killed export left."""
        for leftover in self.folder.rglob(f"*{PARTIAL_SUFFIX}"):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"cannot write {path}: {error.strerror}. Free some space or choose another folder, "
            "then run the same command again: it goes on where it stopped"
        ) from error
