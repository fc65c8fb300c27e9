"""Conversion of ARPA files, plain or gzip, to the compact format of `NgramModel`."""

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, cast

from mms_kernels import _ctc

_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"

Progress = Callable[[int], object]


def convert_arpa(source: Path, target: IO[bytes], *, progress: Progress | None = None) -> None:
    """Convert an ARPA file to a compact file.

    Nothing is written unless the whole source is valid. Memory is about 45 bytes per n-gram.

    Args:
        source: ARPA file of order 32 at most, plain or gzip, detected by its first bytes.
        target: Stream to write the compact file to.
        progress: Called with the number of bytes of `source` read since the last call.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The source is not a valid ARPA file; the message names the line.
    """
    try:
        with source.open("rb") as file:
            image = _read(file, progress)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{source}: the gzip file is damaged or truncated: {error}") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    for piece in image.pieces():
        target.write(piece.data)


def _read(file: io.BufferedReader, progress: Progress | None) -> _ctc.NgramImage:
    reader = _ctc.ArpaReader()
    is_gzip = file.peek(2).startswith(_GZIP)
    text = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_gzip else file
    done = 0
    while piece := text.read(_PIECE):
        reader.read(piece)
        if progress is not None:
            progress(file.tell() - done)
            done = file.tell()
    return reader.finish()
