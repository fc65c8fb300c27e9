"""CUDA kernels of this install: the fatbin, and the argument structs."""

import struct
from collections.abc import Iterator
from pathlib import Path

_NAME = "mms_kernels.fatbin"
_PTX = 1  # kind of an entry; machine code is 2


def fatbin_path() -> Path | None:
    """Return the file of compiled kernels; None if the build had no nvcc."""
    # An editable install has build products beside the installed package, not the sources.
    paths = (Path(folder, _NAME) for folder in __path__)
    return next((path for path in paths if path.is_file()), None)


def compiler_release(fatbin: Path) -> str:
    """Return the release of the nvcc that compiled a fatbin, such as `13.0`; empty if unknown."""
    try:
        return fatbin.with_name(f"{fatbin.name}.nvcc").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def architectures(fatbin: bytes) -> list[int]:
    """Return the compute capabilities of the machine code in a fatbin, such as 75 and 90.

    Raises:
        ValueError: Not a fatbin.
    """
    return [capability for kind, capability in _entries(fatbin) if kind != _PTX]


def portable(fatbin: bytes) -> int | None:
    """Return the capability from which on drivers compile a fatbin's PTX; `None` without PTX.

    Raises:
        ValueError: Not a fatbin.
    """
    found = [capability for kind, capability in _entries(fatbin) if kind == _PTX]
    return min(found, default=None)


def _entries(fatbin: bytes) -> Iterator[tuple[int, int]]:
    """Yield kind and compute capability of each entry."""
    if len(fatbin) < 16 or fatbin[:4] != b"\x50\xed\x55\xba":
        raise ValueError("not a fatbin: the first bytes are not its magic number")
    _, header, size = struct.unpack_from("<HHQ", fatbin, 4)
    position = header
    while position < min(header + size, len(fatbin) - 32):
        kind, _, entry_header, payload = struct.unpack_from("<HHIQ", fatbin, position)
        if entry_header == 0:
            raise ValueError(f"not a fatbin: the entry at byte {position} has no header")
        yield kind, *struct.unpack_from("<I", fatbin, position + 28)
        position += entry_header + payload
