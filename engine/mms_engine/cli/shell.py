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
    out = _wrapped(sys.stdout, _StandardOutput, _ERRORS)
    messages = _wrapped(sys.stderr, _StandardError, "backslashreplace")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in (out, messages):
            if stream is not None:
                stream.detach()


def _wrapped(stream: object, kind: type[io.TextIOWrapper], errors: str) -> io.TextIOWrapper | None:
    """Replace a standard stream of the process; `None` for another, such as that of a test."""
    name = "stdout" if kind is _StandardOutput else "stderr"
    if stream is not getattr(sys, f"__{name}__") or not isinstance(stream, io.TextIOWrapper):
        return None
    chosen = stream.errors if stream.errors not in ("strict", "surrogateescape") else errors
    wrapped = kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=chosen,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, wrapped)
    return wrapped


def _occupy_closed() -> None:
    """Open closed standard streams so that their use fails, as a closed one's would."""
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)))
    if sys.stdout is None:
        sys.stdout = sys.__stdout__ = _writer(1)
    if sys.stderr is None:
        sys.stderr = sys.__stderr__ = _writer(2)


def _writer(number: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "wb", closefd=False)))


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
