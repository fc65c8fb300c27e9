"""Recordings at URLs, which fsspec opens: S3, GCS, HTTP and others."""

from pathlib import PurePosixPath
from typing import Any, BinaryIO

from mms_engine.audio.probe import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mms_engine.errors import AudioError


def is_url(name: str) -> bool:
    """Return whether a name is a URL rather than a path."""
    scheme, separator, rest = name.partition("://")
    return bool(separator and rest) and scheme.replace("+", "").isalnum()


class RemoteFile:
    """Content of a URL as a binary stream, opened at the first read."""

    def __init__(self, url: str) -> None:
        self.name = url
        """URL, for messages."""
        self._stream: BinaryIO | None = None

    def read(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes; none at the end.

        Raises:
            AudioError: the URL cannot be opened.
            OSError: the connection broke.
        """
        if self._stream is None:
            system, path = _located(self.name)
            try:
                self._stream = system.open(path, "rb")
            except FileNotFoundError as error:
                raise AudioError(
                    f"{self.name} does not exist or cannot be reached: check the URL"
                ) from error
            except Exception as error:  # the errors are those of each store's library
                raise AudioError(f"{self.name} cannot be opened: {error}") from error
        content: bytes = self._stream.read(count)
        if not content:
            self._stream.close()
        return content


def find_recordings(folder: str) -> tuple[list[str], list[str]]:
    """Return the URLs of the recordings below a URL, by their suffixes, and of the other files.

    Raises:
        AudioError: it cannot be listed.
    """
    system, path = _located(folder)
    try:
        names = sorted(system.find(path))
    except Exception as error:
        raise AudioError(f"{folder} cannot be listed: {error}") from error
    found: list[str] = []
    skipped: list[str] = []
    for name in names:
        is_media = PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES | VIDEO_SUFFIXES
        (found if is_media else skipped).append(str(system.unstrip_protocol(name)))
    return found, skipped


def version(url: str) -> tuple[int, int]:
    """Return the size of a file in bytes, and a number that changes with its content.

    Raises:
        OSError: it is missing or cannot be reached.
        AudioError: the URL is none that fsspec knows.
    """
    system, path = _located(url)
    try:
        return int(system.size(path) or 0), int(system.checksum(path))
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error)) from error


def _located(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:  # fsspec, or its part for the scheme
        raise AudioError(
            f"{url} cannot be read: {error}: pip install 'mms-engine[cluster]' and the package "
            "of its store"
        ) from error
    except ValueError as error:
        raise AudioError(f"{url} cannot be read: {error}") from error
    return system, str(path)
