"""Writing of packed weights, in a process of its own: see `packed`."""

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mms_engine.backends.ort import save_packed
from mms_engine.backends.packed import (
    ENTRY,
    MODEL,
    WEIGHTS,
    Entry,
    PackedGraph,
    make_room,
    packed_folder,
)
from mms_engine.backends.session import GraphFile
from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import File
from mms_engine.bundle.reader import Bundle, open_bundle
from mms_engine.bundle.stamps import FileState, settle, stamp
from mms_engine.types import Precision

_NICENESS = 19


def write(bundle: Path, name: str, precision: Precision) -> None:
    """Write the packed copy of a graph, unless another process does or there is no room.

    Raises:
        BundleError: the bundle is damaged.
        BackendError: ONNX Runtime cannot write the copy.
        OSError: the file system refused.
    """
    opened = open_bundle(bundle)
    packed = PackedGraph.at(GraphFile(*opened.graph(name, precision)))
    packed_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(packed.lock) as is_ours:
        if is_ours and not packed.folder.exists():
            # One after the other: each is counted before the next makes room.
            with _locked(packed_folder().with_suffix(".lock"), waits=True):
                _write(opened, packed)


def _write(bundle: Bundle, packed: PackedGraph) -> None:
    """Write a copy, if there is room; no other process writes one."""
    for killed in packed_folder().glob("*.partial"):
        shutil.rmtree(killed, ignore_errors=True)
    graph = packed.source.graph
    make_room(2 * sum(file.size for file in graph.files))
    if not packed.has_room():
        return
    partial = packed.folder.with_suffix(".partial")
    partial.mkdir(mode=0o700)
    try:
        with bundle.loading(graph.name, graph.precision) as (found, path):
            save_packed(GraphFile(found, path), partial / MODEL, WEIGHTS)
        files = tuple(_describe(partial, packed.folder, each) for each in (MODEL, WEIGHTS))
        entry = Entry(
            bundle=bundle.path.name, graph=graph.name, precision=graph.precision, files=files
        )
        (partial / ENTRY).write_bytes(msgspec.json.encode(entry))
        partial.rename(packed.folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _describe(partial: Path, final: Path, name: str) -> File:
    """Return the description of a file, which is stamped under the name it will have."""
    path = partial / name
    path.chmod(0o600)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())  # a stamp must not outlive a content that was never on the disk
    state = FileState.of(path)
    settle(state)
    begin = time.time_ns()
    file = describe(partial, path)
    stamp(final / name, state, file.sha256, begin)
    return file


@contextlib.contextmanager
def _locked(path: Path, *, waits: bool = False) -> Iterator[bool]:
    """Yield whether this process holds a lock file, perhaps after waiting; its time becomes now."""
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except OSError:
            yield False
            return
        os.utime(path)
        yield True


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    write(Path(sys.argv[1]), sys.argv[2], sys.argv[3])  # type: ignore[arg-type]
