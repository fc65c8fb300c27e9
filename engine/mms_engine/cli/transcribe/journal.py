"""Journal of `mms transcribe --resume`: the transcripts in a folder, and what they were made of.

`mms-resume.jsonl` has a line for each transcript, with its content's digest. The line is appended
before the file is renamed to its name, so that after a kill at any moment a whole file has a line,
and a line without its file is work to do. Commands that share a folder append and write in turns,
under a lock of the journal; a line torn by a power cut is ignored.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_engine.audio.remote import is_url, version
from mms_engine.errors import OutputError
from mms_engine.formats.output import leftovers

NAME = "mms-resume.jsonl"

State = Literal["new", "done", "kept"]
"""Whether a recording has to be transcribed: its file is missing or of another recording or other
options, is whole, or is not this command's (edited, or written without a journal)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A transcript."""

    output: str
    """Path of its file in the folder, with forward slashes."""
    source: str
    """Absolute path or URL of the recording."""
    size: int
    """Size of the recording in bytes."""
    mtime_ns: int
    """Time of the recording's last change, or the version of a URL's content."""
    options: str
    """Digest of all that the transcript depends on besides."""
    sha256: str = ""
    """Digest of the transcript's file."""


def entry_of(output: Path, source: str, options: str) -> Entry:
    """Return the entry of a recording as it is now, without a transcript.

    Args:
        output: Path of the transcript in the folder.
        source: Path or URL of the recording.
        options: Digest of all that the transcript depends on besides.

    Raises:
        OSError: the recording is missing.
        AudioError: its URL cannot be used.
    """
    if is_url(source):
        location, (size, changed) = source, version(source)
    else:
        status, location = Path(source).stat(), str(Path(source).resolve())
        size, changed = status.st_size, status.st_mtime_ns
    return Entry(
        output=output.as_posix(), source=location, size=size, mtime_ns=changed, options=options
    )


class ClaimedError(OutputError):
    """An output is the transcript of another recording."""


class Journal:
    """Journal of a folder; not thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Read the journal, if there is one, and remove files of interrupted writes that it names.

        Raises:
            OutputError: it cannot be read.
        """
        self._folder = folder
        self._path = folder / NAME
        self._read_to = 0
        self._is_torn = False
        self._latest: dict[str, Entry] = {}
        self._written: set[tuple[str, str]] = set()
        if self._path.exists():
            with self._locked():
                self._remove_leftovers()

    def state(self, entry: Entry) -> State:
        """Return the state of a recording.

        Raises:
            ClaimedError: its output is the transcript of another recording, which still exists.
        """
        digest = self._digest(entry.output)
        if digest is None:
            return "new"
        self._check_claim(entry)
        if (entry.output, digest) not in self._written:
            return "kept"
        latest = self._latest[entry.output]
        return "done" if _is_made_of(latest, entry) and latest.sha256 == digest else "new"

    def write(self, entry: Entry, text: str, write: Callable[[str], None]) -> bool:
        """Record a transcript and write its file; return false if a file of the user is kept.

        Args:
            entry: The recording, as it was before it was read.
            text: Content of the file.
            write: Writer of the file, as a whole.

        Raises:
            ClaimedError: another command wrote the transcript of another recording meanwhile.
            OutputError: the journal or the file cannot be written.
        """
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        with self._locked() as descriptor:
            state = self.state(entry)
            if state == "new":
                self._append(descriptor, dataclasses.replace(entry, sha256=digest))
                write(text)
        return state != "kept"

    def _check_claim(self, entry: Entry) -> None:
        latest = self._latest.get(entry.output)
        if latest is None or latest.source == entry.source:
            return
        is_other = is_url(latest.source)
        with contextlib.suppress(OSError):  # a file that is gone is this one, moved
            is_other = is_other or not Path(latest.source).samefile(entry.source)
        if is_other:
            raise ClaimedError(
                f"{self._folder / entry.output} is the transcript of {latest.source}, not of "
                f"{entry.source}: choose another --output folder"
            )

    def _digest(self, output: str) -> str | None:
        try:
            content = (self._folder / output).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(output, error) from error
        return hashlib.sha256(content).hexdigest()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Lock the journal and read what was appended since; yield its descriptor."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise self._error(NAME, error) from error
        try:
            # Closing the descriptor releases the lock. Windows and some network file systems have
            # none: there, two commands must not write the same transcripts.
            with contextlib.suppress(ImportError, OSError):
                fcntl = importlib.import_module("fcntl")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._read(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb", closefd=False) as stream:
            stream.seek(self._read_to)
            content = stream.read()
        self._read_to += len(content)
        if content:
            self._is_torn = not content.endswith(b"\n")
        for line in content.splitlines():
            with contextlib.suppress(ValueError, TypeError):  # torn by a power cut
                self._add(Entry(**json.loads(line)))

    def _add(self, entry: Entry) -> None:
        self._latest[entry.output] = entry
        self._written.add((entry.output, entry.sha256))

    def _append(self, descriptor: int, entry: Entry) -> None:
        line = f"{json.dumps(dataclasses.asdict(entry))}\n".encode("ascii")
        if self._is_torn:
            line = b"\n" + line
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(None, "the disk is full")
            os.fsync(descriptor)
        except OSError as error:
            raise self._error(NAME, error) from error
        self._read_to += len(line)
        self._is_torn = False
        self._add(entry)

    def _remove_leftovers(self) -> None:
        """Remove the temporary files of writes that were recorded and not finished."""
        entries = self._latest.items()
        open_ones = [output for output, entry in entries if self._digest(output) != entry.sha256]
        for path in leftovers(self._folder / output for output in open_ones):
            with contextlib.suppress(OSError):
                path.unlink()

    def _error(self, name: str, error: OSError) -> OutputError:
        reason = error.strerror or str(error)
        return OutputError(
            f"cannot use {self._folder / name}: {reason}; --resume needs a folder that it can "
            "read and write"
        )


def _is_made_of(latest: Entry, entry: Entry) -> bool:
    """Return whether a transcript is of a recording as it is now, with the same options."""
    made = (latest.size, latest.mtime_ns, latest.options)
    return made == (entry.size, entry.mtime_ns, entry.options)
