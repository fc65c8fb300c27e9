"""The folder of saved sessions, shared by servers."""

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

_MOST_BYTES = 1 << 30
_GENERATION = "-[0-9]{1,9}"
ID = re.compile(r"[0-9a-f]{32}")
"""Ids of sessions."""


class SessionStore:
    """Folder of saved sessions. Its methods block."""

    def __init__(self, folder: Path) -> None:
        """Use a folder."""
        self._folder = folder

    def write(self, identity: str, generation: int, content: bytes) -> None:
        """Write a session; a reader sees the old or the new one.

        Raises:
            OSError: it cannot be written.
        """
        temporary = self._temporary()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(temporary, flags, 0o600), "wb") as stream:  # noqa: PTH123
                stream.write(content)
            temporary.replace(self._path(identity, generation))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def take(self, identity: str, seconds: float) -> tuple[int, bytes] | None:
        """Return the last generation of a session that is not older, and remove it.

        Of several servers that try at the same time, one gets it.
        """
        self._sweep(seconds)
        found = {
            int(path.name.rpartition("-")[2]): path for path in self._files(identity + _GENERATION)
        }
        for generation in sorted(found, reverse=True):
            claimed = self._temporary()
            try:
                found[generation].rename(claimed)
                if claimed.stat().st_size > _MOST_BYTES:
                    return None
                content = claimed.read_bytes()
            except OSError:
                continue
            finally:
                claimed.unlink(missing_ok=True)
            return generation, content
        return None

    def delete(self, identity: str, generation: int) -> None:
        """Remove a session of a generation, if it is there."""
        with contextlib.suppress(OSError):
            self._path(identity, generation).unlink(missing_ok=True)

    def _path(self, identity: str, generation: int) -> Path:
        return self._folder / f"{identity}-{generation}"

    def _temporary(self) -> Path:
        return self._folder / f"{secrets.token_hex(16)}-part"

    def _files(self, pattern: str) -> list[Path]:
        with contextlib.suppress(OSError):
            return [path for path in self._folder.iterdir() if re.fullmatch(pattern, path.name)]
        return []

    def _sweep(self, seconds: float) -> None:
        """Remove what nobody has resumed in time."""
        oldest = time.time() - seconds
        for path in self._files(f"{ID.pattern}({_GENERATION}|-part)"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
