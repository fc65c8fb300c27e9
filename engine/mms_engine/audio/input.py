"""Input of the decoders: a regular file, or a seekable copy of a byte stream."""

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from mms_engine.audio.limits import AudioLimits
from mms_engine.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_IN_MEMORY = 32 * 2**20
_CHUNK = 1 << 20


class SeekableBytes(io.RawIOBase):
    """Seekable file of the decoders.

    An impossible `seek`, to which a damaged file may lead, returns -1: an exception cannot pass
    through the decoders' C code, which would print it.
    """

    def __init__(self, name: str, content: BinaryIO) -> None:
        self.name = name
        """Name of the file; FFmpeg infers the format of headerless files from its suffix."""
        self._content = content

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Read into a buffer; return the number of bytes read."""
        return cast("io.RawIOBase", self._content).readinto(buffer) or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Seek; return the new position, or -1 if it is impossible."""
        try:
            return self._content.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        """Return the position."""
        return self._content.tell()

    def close(self) -> None:
        """Close the file, or discard the copy."""
        self._content.close()
        super().close()


@dataclass(frozen=True, slots=True)
class AudioInput:
    """Audio file to decode."""

    name: str
    """Name for messages."""
    stream: SeekableBytes
    """Content, at its beginning."""
    size: int
    """Size in bytes."""

    def at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from an offset."""
        if self.stream.seek(offset) < 0:
            return b""
        return self.stream.read(count) or b""


class Splice(io.RawIOBase):
    """Seekable file of a header and ranges of an input."""

    def __init__(self, source: AudioInput, header: bytes, *ranges: tuple[int, int]) -> None:
        self.name = source.name
        """Name of the file; FFmpeg infers the format of headerless files from its suffix."""
        self._source = source
        self._header = header
        self._ranges = ranges
        self.size = len(header) + sum(end - start for start, end in ranges)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from an offset; the position stays."""
        position, self._position = self._position, offset
        content = self.read(count) or b""
        self._position = position
        return content

    def readinto(self, buffer: "Buffer", /) -> int:
        """Read into a buffer; return the number of bytes read."""
        view = memoryview(buffer)
        content = self._header[self._position : self._position + len(view)]
        offset = self._position - len(self._header)
        for start, end in self._ranges:
            if content:
                break
            if offset < end - start:
                count = min(len(view), end - start - offset)
                content = self._source.at(start + offset, count)
            offset -= end - start
        view[: len(content)] = content
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Seek; return the new position, or -1 if it is impossible."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            return -1
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


def source_name(source: str | Path | BinaryIO) -> str:
    """Return the name of a file or stream, for messages."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the stream"


@contextlib.contextmanager
def open_input(source: Path | BinaryIO, limits: AudioLimits) -> Iterator[AudioInput]:
    """Open a file, or a stream from its current position to its end.

    Raises:
        AudioError: it cannot be read, is empty, or is larger than the limit.
    """
    if isinstance(source, os.PathLike):
        opened = _open_path(Path(source), limits)
    else:
        opened = _spool(source, source_name(source), limits)
    with opened.stream:
        if opened.size == 0:
            raise AudioError(f"{opened.name} is empty: choose a file with audio")
        yield opened


def _open_path(path: Path, limits: AudioLimits) -> AudioInput:
    try:
        stream = path.open("rb", buffering=0)
    except IsADirectoryError as error:
        raise AudioError(f"{path} is a folder: name the audio files in it") from error
    except FileNotFoundError as error:
        raise AudioError(f"{path} does not exist: check the path") from error
    except PermissionError as error:
        raise AudioError(f"{path} is not readable by this user: check its permissions") from error
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {error.strerror}") from error
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        with stream:
            return _open_special(path, stream, status.st_mode, limits)
    return AudioInput(str(path), SeekableBytes(str(path), stream), status.st_size)


def _open_special(path: Path, stream: BinaryIO, mode: int, limits: AudioLimits) -> AudioInput:
    if not stat.S_ISFIFO(mode):
        raise AudioError(f"{path} is a device, not a file: choose a file, or pipe the audio in")
    return _spool(stream, str(path), limits)


def _spool(stream: BinaryIO, name: str, limits: AudioLimits) -> AudioInput:
    # Containers need seeking, and the caller's stream may be slow or fail midway: decoders share
    # one copy.
    copy = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
    try:
        size = _copy(stream, copy, name, limits)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return AudioInput(name, SeekableBytes(name, cast("BinaryIO", copy)), size)


def _copy(
    stream: BinaryIO, copy: "tempfile.SpooledTemporaryFile[bytes]", name: str, limits: AudioLimits
) -> int:
    size = 0
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except (OSError, io.UnsupportedOperation) as error:
            raise AudioError(f"{name} cannot be read: {error}") from error
        if not isinstance(chunk, bytes):
            raise AudioError(
                f"{name} yields {type(chunk).__name__}, not bytes: open it in binary mode"
            )
        if not chunk:
            return size
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_large(name, limits)
        try:
            copy.write(chunk)
        except OSError as error:
            raise no_space(name, error) from error


def no_space(name: str, error: OSError) -> AudioError:
    """Return the error for a temporary file that cannot be written."""
    folder = tempfile.gettempdir()
    return AudioError(
        f"{name}: cannot write a temporary file in {folder}: {error.strerror}. Free some space, "
        "or set TMPDIR to a folder that has more"
    )


def _too_large(name: str, limits: AudioLimits) -> AudioError:
    return AudioError(
        f"{name} has more than {limits.max_bytes} bytes, the limit of a stream: save it as a file, "
        "or raise the limit (AudioLimits.max_bytes, --max-bytes)"
    )
