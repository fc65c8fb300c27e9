"""Packed weights: copies of graphs as ONNX Runtime lays them out for this processor.

Creating a session copies the weights of every matrix product into the layout of the processor's
kernels. A copy of the graph with weights in that layout is mapped from disk instead: it opens
sooner, and processes share its memory. Copies lie in the user's cache folder, are written by a
process of low priority behind the first run, and are never required; results keep their bits.
"""

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from mms_engine.backends.probes import installed_version
from mms_engine.backends.session import GraphFile
from mms_engine.bundle.manifest import File, Graph
from mms_engine.bundle.stamps import is_private
from mms_engine.bundle.verification import Verifier
from mms_engine.errors import BackendError, BundleFileMissing
from mms_engine.system import available_memory, cache_folder, cpu_info, processor_name

logger = logging.getLogger(__name__)

LIMIT_VARIABLE = "MMS_PACKED_GB"
_DEFAULT_GB = 16.0
_LEAST_BYTES = 256 << 20
"""Size of weights from which a copy is worth its room: smaller ones are packed in 0.2 s."""
_GROWTH = 2.1
"""Most bytes of a copy per byte of weights: each weight is kept in both layouts."""
_RETRY_SECONDS = 3600
"""Time after which writing is tried again where an earlier attempt left nothing."""
ENTRY = "entry.json"
MODEL = "model.onnx"
WEIGHTS = "weights.bin"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a copy, written last."""

    bundle: str
    """Name of the bundle's folder."""
    graph: str
    precision: str
    files: tuple[File, ...]
    """The `.onnx` first, then its weights; paths relative to the copy."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class PackedGraph:
    """Place of the copy of a graph, for this processor and this release of ONNX Runtime."""

    source: GraphFile
    folder: Path

    @classmethod
    def of(cls, file: GraphFile) -> "PackedGraph | None":
        """Return the place of a graph's copy; `None` if a copy is not worth it, or not wanted.

        Raises:
            BackendError: the environment variable that bounds the copies is not a number.
        """
        if file.content is not None or weight_bytes(file.graph) < _LEAST_BYTES or not limit():
            return None
        return cls.at(file)

    @classmethod
    def at(cls, file: GraphFile) -> "PackedGraph":
        """Return the place of a graph's copy, whether it is worth it or not."""
        return cls(file, packed_folder() / _key(file.graph))

    @property
    def entry(self) -> Entry | None:
        """Description of the copy; `None` where there is none."""
        return read_entry(self.folder)

    @contextlib.contextmanager
    def loading(self, verify: bool | None) -> Iterator[GraphFile]:
        """Yield the copy to a block that loads it; see `Bundle.loading`.

        Args:
            verify: As for `open_bundle`.

        Raises:
            BundleFileMissing: there is none.
            BundleCorrupt: it is damaged.
        """
        entry = self.entry
        if entry is None:
            raise BundleFileMissing(f"{self.folder} holds no packed weights")
        with contextlib.suppress(OSError):
            os.utime(self.folder)  # when it was last used
        with Verifier(self.folder, verify).beside(entry.files) as path:
            yield replace(self.source, path=path, is_packed=True)

    def remove(self) -> None:
        """Remove the copy; sessions that map it keep their memory."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_behind(self, bundle: Path) -> None:
        """Start a process of low priority that writes the copy, where memory and disk allow it."""
        if not self._is_due() or getattr(sys, "frozen", False):
            return
        graph = self.source.graph
        command = [sys.executable, "-m", "mms_engine.backends.packing"]
        command += [str(bundle.resolve()), graph.name, graph.precision]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            logger.debug("packed weights are not written: %s", error)
            return
        threading.Thread(target=process.wait, name="mms-packing", daemon=True).start()

    @property
    def lock(self) -> Path:
        """File that the writing process locks, changed when it last began."""
        return self.folder.with_suffix(".lock")

    def _is_due(self) -> bool:
        with contextlib.suppress(OSError):
            if time.time() - self.lock.stat().st_mtime < _RETRY_SECONDS:
                return False
        return not self.folder.exists() and self.has_room()

    def has_room(self) -> bool:
        """Return whether memory, disk and limit have room for a copy, and as much again."""
        size = int(weight_bytes(self.source.graph) * _GROWTH)
        memory = available_memory()
        existing = next(path for path in self.folder.parents if path.exists())
        try:
            free = shutil.disk_usage(existing).free
        except OSError:
            return False
        return size <= limit() and free > 2 * size and (memory is None or memory > size)


def packed_folder() -> Path:
    """Return the folder of the copies."""
    return cache_folder() / "packed"


def limit() -> int:
    """Return the bytes that all copies may take; 0 for none.

    Raises:
        BackendError: the environment variable is not a number of gigabytes.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gigabytes = float(text) if text else _DEFAULT_GB
        return max(0, int(gigabytes * 1e9))
    except (ValueError, OverflowError) as error:
        raise BackendError(
            f"{LIMIT_VARIABLE} is {text!r}: set it to the gigabytes that packed weights may take "
            "on disk, or to 0 to keep none"
        ) from error


def entries() -> dict[Path, Entry]:
    """Return every copy by its folder, least recently used first."""
    if not packed_folder().is_dir():
        return {}
    folders = [path for path in packed_folder().iterdir() if path.is_dir()]
    folders.sort(key=lambda path: path.stat().st_mtime_ns)
    found = {folder: read_entry(folder) for folder in folders}
    return {folder: entry for folder, entry in found.items() if entry is not None}


def read_entry(folder: Path) -> Entry | None:
    """Return the description of a copy; `None` if it is not whole, or others may write to it."""
    if not (is_private(packed_folder()) and is_private(folder)):
        return None
    try:
        return msgspec.json.decode((folder / ENTRY).read_bytes(), type=Entry)
    except (OSError, msgspec.MsgspecError):
        return None


def make_room(size: int) -> None:
    """Remove the least recently used copies until `size` more bytes are within the limit."""
    kept = entries()
    while kept and sum(entry.size for entry in kept.values()) + size > limit():
        folder = next(iter(kept))
        shutil.rmtree(folder, ignore_errors=True)
        del kept[folder]


def clear() -> int:
    """Remove every copy, and what killed processes left; return the bytes that were freed."""
    size = sum(file.stat().st_size for file in packed_folder().rglob("*") if file.is_file())
    shutil.rmtree(packed_folder(), ignore_errors=True)
    return size


def weight_bytes(graph: Graph) -> int:
    """Return the bytes of a graph's external weights."""
    return sum(file.size for file in graph.files[1:])


def _key(graph: Graph) -> str:
    """Return a name for what a copy depends on: the graph, the library and the processor."""
    parts = (
        *(file.sha256 for file in graph.files),
        installed_version("onnxruntime") or installed_version("onnxruntime-gpu"),
        platform.machine(),
        cpu_info("flags", "Features") or processor_name(),
    )
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]
