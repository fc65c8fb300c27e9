"""Standard streams and signals of the command-line programs."""

import codecs
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from mms_engine.errors import OutputError

BROKEN_PIPE = 128 + signal.SIGPIPE
_ERRORS = "mms.escape"
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP; its code is 128 and the signal's number."""


class _StandardOutput(io.TextIOWrapper):
    """Standard output: a closed pipe ends the program, other errors name it."""

    def write(self, text: str, /) -> int:
        """Write text."""
        with _output_errors():
            return super().write(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with _output_errors():
            super().flush()


class _StandardError(io.TextIOWrapper):
    """Standard error: messages that cannot be written are lost, the work is not."""

    def write(self, text: str, /) -> int:
        """Write text."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with contextlib.suppress(OSError):
            super().flush()


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Prepare the standard streams for a program.

    Errors of standard output are an `OutputError`, or `SystemExit` with `BROKEN_PIPE`. Characters
    that its encoding lacks are written as the escapes of JSON, file names that are not UTF-8 as
    their bytes. A closed stream fails when it is used, and its descriptor is not given to a file.
    """
    _occupy_closed()
    codecs.register_error(_ERRORS, _escape)
    before = sys.stdout, sys.stderr
    if out := _standard(1, "stdout"):
        sys.stdout = out = _wrapped(out, _StandardOutput, _ERRORS)
    if messages := _standard(2, "stderr"):
        sys.stderr = messages = _wrapped(messages, _StandardError, "backslashreplace")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in filter(None, (out, messages)):
            stream.detach()


def _wrapped(
    stream: io.TextIOWrapper, kind: type[io.TextIOWrapper], errors: str
) -> io.TextIOWrapper:
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=errors if stream.errors in ("strict", "surrogateescape") else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _occupy_closed() -> None:
    """Open closed standard streams so that their use fails, as a closed one's would."""
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)))


def _standard(number: int, name: str) -> io.TextIOWrapper | None:
    """Return a standard stream of the process; `None` if it was replaced, as by a test."""
    stream, own = getattr(sys, name), getattr(sys, f"__{name}__")
    if stream is None:  # closed
        return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "wb", closefd=False)))
    return stream if stream is own and isinstance(stream, io.TextIOWrapper) else None


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # What is still buffered must not fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(BROKEN_PIPE) from None
        raise OutputError(f"cannot write standard output: {error.strerror}") from error


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode characters as bytes of a file name, or as the escapes of JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    content = b""
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":
            content += character.encode("ascii", "surrogateescape")
        else:
            units = character.encode("utf-16-be", "surrogatepass").hex()
            content += "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)).encode()
    return content, error.end


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Raise `Terminated` in the main thread at SIGTERM and SIGHUP, unless they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    default = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in default:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, _: object) -> NoReturn:
    raise Terminated(128 + number)
