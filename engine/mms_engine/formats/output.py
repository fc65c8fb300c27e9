"""Writer for the files a user names: an output appears whole, or its name keeps what it had."""

import contextlib
import errno
import fcntl
import io
import os
import re
import secrets
import shutil
import socket
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mms_engine.errors import OutputError

Input = str | os.PathLike[str] | int
"""Path of an input, or the descriptor of an open one."""
PARTIAL_SUFFIX = ".partial"
"""Suffix of the temporary files."""
_NAME_SHOWN = 40
"""Characters of an output's name in that of its temporary file, which has to stay valid."""
_LINKS = 40
_REMEDIES = {
    errno.EACCES: "choose a file and folder that you may write to",
    errno.EPERM: "choose a file and folder that you may write to",
    errno.EROFS: "choose a folder on another file system",
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "free some space, or choose a folder on another disk",
    errno.EFBIG: "choose a file system, or a limit, that allows larger files",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "one of its folders is a file, choose another folder",
    errno.EISDIR: "name a file in it",
    errno.ENOENT: "choose a folder that exists",
    errno.ELOOP: "its symbolic links form a loop, choose another name",
}


class InputFiles:
    """Files that a command reads, none of which it may write."""

    def __init__(self, sources: Iterable[Input]) -> None:
        """Look up the sources; those that are missing are reported when they are read."""
        self._names: dict[tuple[int, int], str] = {}
        for source in sources:
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(source)  # noqa: PTH116 (may be a descriptor)
                name = "standard input" if source == 0 else str(source)
                self._names.setdefault((status.st_dev, status.st_ino), name)

    def find(self, status: os.stat_result) -> str | None:
        """Return the name of the input that has a status; `None` for none."""
        return self._names.get((status.st_dev, status.st_ino))


@dataclass(frozen=True, slots=True)
class _Target:
    """A checked output."""

    name: str
    """Path as the user gave it."""
    path: Path
    """Path with symbolic links followed."""
    descriptor: int | None = None
    """Descriptor that the path stands for, as /dev/stdout does."""
    status: os.stat_result | None = None
    """Status of what is there; `None` for nothing."""

    @property
    def is_file(self) -> bool:
        """Whether it is replaced as a whole, not written through."""
        return self.descriptor is None and (
            self.status is None or stat.S_ISREG(self.status.st_mode)
        )


class _OutputFile(io.FileIO):
    """Unbuffered file whose write errors name the output."""

    output = ""

    def write(self, content: Any, /) -> int:  # noqa: ANN401
        """Write bytes."""
        with _explained(self.output):
            return super().write(content)


Inputs = InputFiles | Iterable[Input]


def check_output(path: str | os.PathLike[str], *, inputs: Inputs = ()) -> None:
    """Check that an output can be written, before anything is computed. Nothing is created.

    Args:
        path: Path of the output, as in `open_output`.
        inputs: Paths or open descriptors of what the command reads; for many outputs, `InputFiles`
            looks them up once.

    Raises:
        OutputError: it is a folder or one of the inputs, lies below a file, is write-protected, or
            has too long a name.
    """
    _checked(path, inputs)


@contextlib.contextmanager
def open_output(
    path: str | os.PathLike[str],
    *,
    inputs: Inputs = (),
    binary: bool = False,
    keep: bool = False,
    token: str | None = None,
) -> Iterator[IO[Any]]:
    """Open an output for writing.

    A regular file is written under a temporary name in its folder, flushed to disk and renamed when
    the block ends, so that it appears whole and an earlier one stays until then. The earlier one's
    permissions, extended attributes and (as far as allowed) owner are kept; a new one has those of
    the umask. Missing folders are created. Symbolic links are followed, dangling ones too; other
    hard links of a file keep its earlier content. Devices, fifos, sockets and descriptors
    (/dev/stdout, /dev/fd/N) are written through.

    When the block ends with an error, the temporary file is removed. A killed process (SIGKILL, a
    power cut) leaves it: a hidden file `.NAME.XXXXXXXX.partial`, safe to delete.

    Args:
        path: Path of the output.
        inputs: Paths or open descriptors of what the command reads; none may be the output.
        binary: Whether the stream takes bytes. Text is UTF-8; bytes of file names that are not
            UTF-8 (surrogate escapes) are written as they are.
        keep: Whether to keep an incomplete file with content after an error. Its name, then
            `NAME.XXXXXXXX.partial`, is not hidden; the stream's `name` is its path.
        token: Part of the temporary name instead of a random one, by which the caller finds what a
            killed process left.

    Raises:
        OutputError: the output cannot be written, or is one of the inputs.
    """
    target = _checked(path, inputs)
    token = token or secrets.token_hex(4)
    opened = _replacement(target, token, keep=keep) if target.is_file else _through(target)
    with opened as file:
        buffered = io.BufferedWriter(file)
        stream: IO[Any] = buffered
        if not binary:
            stream = io.TextIOWrapper(
                buffered, encoding="utf-8", errors="surrogateescape", newline="\n"
            )
        try:
            yield stream
            stream.flush()
        except BaseException:
            with contextlib.suppress(OutputError):
                stream.flush()
            raise
        finally:
            # A full disk must not be reported again when the stream is collected.
            with contextlib.suppress(OutputError):
                buffered.detach()


def _checked(path: str | os.PathLike[str], inputs: Inputs) -> _Target:
    name = os.fspath(path)
    with _explained(name):
        target = _resolved(name)
        if target.status is None:
            _check_new(target.path)
        else:
            _check_existing(target, target.status, inputs)
    return target


def _resolved(name: str) -> _Target:
    """Return a path with its symbolic links followed, up to one that stands for a descriptor."""
    path = Path(name)
    for _ in range(_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if _is_descriptors(path.parent) and path.name.isdecimal():
            descriptor = int(path.name)
            return _Target(name, path, descriptor, os.fstat(descriptor))
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    try:
        return _Target(name, path, status=path.stat())
    except FileNotFoundError:
        return _Target(name, path)


def _is_descriptors(folder: Path) -> bool:
    """Return whether the names in a folder are this process's descriptors."""
    return bool(re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", str(folder)))


def _check_new(path: Path) -> None:
    if path.name in ("", ".."):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    folder, new = path.parent, [path.name]
    while not folder.exists():
        new.append(folder.name)
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise PermissionError(code, os.strerror(code))
    if max(len(os.fsencode(part)) for part in new) > os.pathconf(folder, "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _check_existing(target: _Target, status: os.stat_result, inputs: Inputs) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode):
        files = inputs if isinstance(inputs, InputFiles) else InputFiles(inputs)
        if source := files.find(status):
            raise OutputError(
                f"cannot write {target.name}: it is the input {source}; choose another output"
            )
    if target.descriptor is not None:
        if fcntl.fcntl(target.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "not open for writing")
    elif not os.access(target.path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if target.is_file and not os.access(target.path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"no new files in {target.path.parent}")


@contextlib.contextmanager
def _through(target: _Target) -> Iterator[_OutputFile]:
    """Open a device, fifo, socket or descriptor."""
    with _explained(target.name):
        if target.descriptor is not None:
            descriptor = os.dup(target.descriptor)
        elif target.status is not None and stat.S_ISSOCK(target.status.st_mode):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(os.fspath(target.path))
                descriptor = connection.detach()
        else:
            descriptor = os.open(target.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    with _OutputFile(descriptor, "wb") as file:
        file.output = target.name
        yield file


_unfinished: dict[Path, bool] = {}
"""Temporary files of this process, and whether each is kept."""
_changing = threading.Lock()


@contextlib.contextmanager
def _replacement(target: _Target, token: str, *, keep: bool) -> Iterator[_OutputFile]:
    """Open a temporary file that replaces the target when the block ends."""
    with _explained(target.name), _changing:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = _create(target, token, keep=keep)
        _unfinished[temporary] = keep
    try:
        with file:
            file.output = target.name
            yield file
            with _explained(target.name):
                os.fsync(file.fileno())
        with _explained(target.name):
            with _changing:
                temporary.replace(target.path)
                _unfinished.pop(temporary)
            _flush_folder(target.path.parent)
    finally:
        _discard(temporary)


def _create(target: _Target, token: str, *, keep: bool) -> tuple[Path, _OutputFile]:
    start = "" if keep else "."
    name = f"{start}{target.path.name[:_NAME_SHOWN]}.{token}{PARTIAL_SUFFIX}"
    temporary = target.path.with_name(name)
    # The content of a private file must not be readable before its permissions are copied.
    mode = 0o666 if target.status is None else 0o600
    file = _OutputFile(
        os.fspath(temporary), "xb", opener=lambda path, flags: os.open(path, flags, mode)
    )
    if target.status is not None:
        with contextlib.suppress(OSError):
            os.chown(temporary, target.status.st_uid, target.status.st_gid)
        with contextlib.suppress(OSError):
            shutil.copystat(target.path, temporary)
            os.utime(temporary)
    return temporary, file


def leftovers(outputs: Iterable[Path]) -> Iterator[Path]:
    """Yield the temporary files of outputs that were not finished.

    They are those of killed processes, unless one is writing such an output now.
    """
    names: dict[Path, set[str]] = {}
    for output in outputs:
        path = _resolved(os.fspath(output)).path
        names.setdefault(path.parent, set()).add(path.name[:_NAME_SHOWN])
    for folder, known in names.items():
        with contextlib.suppress(OSError):
            for path in list(folder.iterdir()):
                found = re.fullmatch(
                    rf"\.(.+)\.[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}", path.name
                )
                if found and found[1] in known:
                    yield path


def _discard(temporary: Path) -> None:
    """Remove a temporary file, unless it was renamed, or is kept and has content."""
    keep = _unfinished.pop(temporary, None)
    with contextlib.suppress(OSError):
        if keep is not None and not (keep and temporary.stat().st_size):
            temporary.unlink()


def abandon_outputs() -> list[Path]:
    """Remove the temporary files of unfinished outputs; return those that are kept.

    For a process that ends without unwinding its threads: afterwards outputs can be neither opened
    nor finished.
    """
    _changing.acquire(timeout=1.0)  # not released
    partial = tuple(_unfinished)
    for temporary in partial:
        _discard(temporary)
    return [temporary for temporary in partial if temporary.exists()]


def _flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, on file systems that can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Raise `OSError` as `OutputError`, which names the output and the remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "choose another output")
        raise OutputError(f"cannot write {name}: {reason}; {remedy}") from error
