"""Files of named arrays: NumPy's .npz and safetensors, written one array at a time."""

import contextlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from mms_engine.formats.output import Inputs, open_output
from mms_engine.types import Float32Array

SUFFIXES = (".npz", ".safetensors")


class ArrayWriter(Protocol):
    """Writer of one file."""

    def add(self, name: str, array: Float32Array) -> None:
        """Add an array; names differ."""
        ...


@contextlib.contextmanager
def open_arrays(
    path: Path, metadata: dict[str, str], *, inputs: Inputs = ()
) -> Iterator[ArrayWriter]:
    """Open a file of arrays, which appears when the block ends without an error.

    Equal arrays in the same order give equal bytes. One array at a time is in memory.

    Args:
        path: Output with one of `SUFFIXES`.
        metadata: Strings by name, stored in safetensors; .npz has no place for them.
        inputs: Paths of what the command reads; none may be the output.

    Raises:
        OutputError: the file cannot be written.
    """
    with open_output(path, inputs=inputs, binary=True) as stream:
        if path.suffix == ".npz":
            with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
                yield _Npz(archive)
            return
        # The header of safetensors precedes the data and has the sizes of all arrays.
        with tempfile.TemporaryFile(dir=path.parent if path.parent.is_dir() else None) as data:
            writer = _Safetensors(data)
            yield writer
            stream.write(writer.header(metadata))
            data.seek(0)
            shutil.copyfileobj(data, stream)


class _Npz:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, array: Float32Array) -> None:
        # The default time stamp of a `ZipInfo` is fixed.
        entry = zipfile.ZipInfo(f"{name}.npy")
        with self._archive.open(entry, "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


class _Safetensors:
    def __init__(self, data: IO[bytes]) -> None:
        self._data = data
        self._entries: dict[str, object] = {}

    def add(self, name: str, array: Float32Array) -> None:
        start = self._data.tell()
        self._data.write(np.ascontiguousarray(array, "<f4").data)
        offsets = [start, self._data.tell()]
        self._entries[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": offsets}

    def header(self, metadata: dict[str, str]) -> bytes:
        """Return the length of the header and the header, padded to a multiple of 8 bytes."""
        entries = {"__metadata__": metadata, **self._entries}
        document = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        document += b" " * (-len(document) % 8)
        return len(document).to_bytes(8, "little") + document
