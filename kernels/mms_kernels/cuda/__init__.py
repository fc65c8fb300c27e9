"""CUDA kernels of this install: the fatbin, and the argument structs."""

import struct
from pathlib import Path

_NAME = "mms_kernels.fatbin"


def fatbin_path() -> Path | None:
    """Return the file of compiled kernels; None if the build had no nvcc."""
    # An editable install has build products beside the installed package, not the sources.
    paths = (Path(folder, _NAME) for folder in __path__)
    return next((path for path in paths if path.is_file()), None)


def architectures(fatbin: bytes) -> list[int]:
    """Return the compute capabilities of the machine code in a fatbin, such as 75 and 90.

    Raises:
        ValueError: Not a fatbin.
    """
    if len(fatbin) < 16 or fatbin[:4] != b"\x50\xed\x55\xba":
        raise ValueError("not a fatbin: the first bytes are not its magic number")
    found: list[int] = []
    _, header, size = struct.unpack_from("<HHQ", fatbin, 4)
    position = header
    while position < min(header + size, len(fatbin) - 32):
        entry_header, payload = struct.unpack_from("<IQ", fatbin, position + 4)
        if entry_header == 0:
            raise ValueError(f"not a fatbin: the entry at byte {position} has no header")
        found += struct.unpack_from("<I", fatbin, position + 28)
        position += entry_header + payload
    return found
