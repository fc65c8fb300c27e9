"""Conversion of ARPA files, plain or compressed, to the compact format of `NgramModel`."""

import bz2
import gzip
import io
import logging
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, cast

from mms_kernels import _ctc

logger = logging.getLogger(__name__)

_PIECE = 1 << 20
_OPENERS: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""Readers of compressed files, by the first bytes of a file."""

Progress = Callable[[int], object]


def convert_arpa(source: Path, target: IO[bytes], *, progress: Progress | None = None) -> None:
    """Convert an ARPA file to a compact file.

    Nothing is written unless the whole source is valid. Memory is about 45 bytes per n-gram.

    Args:
        source: ARPA file of order 32 at most, plain or compressed (gzip, bzip2, xz), detected by
            its first bytes.
        target: Stream to write the compact file to.
        progress: Called with the number of bytes of `source` read since the last call.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The source is not a valid ARPA file; the message names the line.
    """
    try:
        with source.open("rb") as file:
            image = _read(file, progress)
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise ValueError(_damaged(source, error)) from error
    except OSError as error:
        if error.errno is None:  # of a bzip2 file
            raise ValueError(_damaged(source, error)) from error
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if image.dropped:
        logger.warning(
            "%s: %d entries are of n-grams given before; the first entry of each counts, of <unk> "
            "the last, as in KenLM",
            source,
            image.dropped,
        )
    write_image(image, target)


def is_compressed(beginning: bytes) -> bool:
    """Return whether a file with these first bytes is decompressed by `convert_arpa`."""
    return beginning.startswith(tuple(_OPENERS))


def _damaged(source: Path, error: Exception) -> str:
    return f"{source}: the compressed file is damaged or truncated: {error}"


def _read(file: io.BufferedReader, progress: Progress | None) -> _ctc.NgramImage:
    reader = _ctc.ArpaReader()
    beginning = file.peek(max(map(len, _OPENERS)))
    opener = next((open_ for magic, open_ in _OPENERS.items() if beginning.startswith(magic)), None)
    text = file if opener is None else cast("BinaryIO", opener(file))
    done = 0
    while piece := text.read(_PIECE):
        reader.read(piece)
        if progress is not None:
            progress(file.tell() - done)
            done = file.tell()
    return reader.finish()


def write_image(image: _ctc.NgramImage, target: IO[bytes]) -> None:
    """Write a compact file to a stream."""
    for piece in image.pieces():
        target.write(piece.data)
