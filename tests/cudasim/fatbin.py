"""Fatbins without code, for machines without nvcc: the double reads only their devices."""

import struct
from pathlib import Path

_MAGIC = 0xBA55ED50
_MACHINE_CODE = 2
_ENTRY_BYTES = 64


def fatbin(*capabilities: int) -> bytes:
    """Return a fatbin that declares machine code for each compute capability, such as 86."""
    entries = b"".join(_entry(capability) for capability in capabilities)
    return struct.pack("<IHHQ", _MAGIC, 1, 16, len(entries)) + entries


def _entry(capability: int) -> bytes:
    header = struct.pack("<HHIQ", _MACHINE_CODE, 257, _ENTRY_BYTES, 8)
    return header.ljust(28, b"\0") + struct.pack("<I", capability).ljust(36, b"\0") + bytes(8)


def empty_fatbin(folder: Path) -> Path:
    """Write a fatbin for every capability of a release, and return its path."""
    path = folder / "mms_kernels.fatbin"
    path.write_bytes(fatbin(75, 80, 86, 87, 89, 90, 100, 110, 120))
    return path
