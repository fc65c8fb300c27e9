"""Files of random tensors."""

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np

from mms_export.checkpoints.weights import FloatArray


def generator_of(name: str) -> np.random.Generator:
    """Return the random generator of a tensor: equal names give equal numbers."""
    return np.random.Generator(np.random.SFC64(zlib.crc32(name.encode())))


def header(shapes: Mapping[str, tuple[int, ...]]) -> tuple[bytes, int]:
    """Return the header of a safetensors file of float32 tensors, and the size of its content."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 4 * prod(shape)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    document = json.dumps(entries, separators=(",", ":")).encode()
    document += b" " * (-len(document) % 8)
    return struct.pack("<Q", len(document)) + document, offset


def write_tensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], FloatArray],
    *,
    sparse: bool = False,
) -> None:
    """Write a safetensors file of float32 tensors, one in memory at a time.

    Args:
        path: The file.
        shapes: Shapes by name, in the order of the file.
        read: Returns a tensor by its name.
        sparse: Write zeros that take no room on the disk instead.
    """
    start, size = header(shapes)
    with path.open("wb") as stream:
        stream.write(start)
        if sparse:
            stream.truncate(len(start) + size)
            return
        for name in shapes:
            stream.write(read(name).tobytes())
