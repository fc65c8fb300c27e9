"""Standard streams and signals of the command-line programs."""

import codecs
import contextlib
import errno
import functools
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from mms_engine.errors import OutputError

BROKEN_PIPE = 128 + signal.SIGPIPE
_OUTPUT_ERRORS, _MESSAGE_ERRORS = "mms.output", "mms.message"
_DEFAULT_ERRORS = ("strict", "surrogateescape", "backslashreplace")
"""Error handlers that Python chooses by itself."""
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP; its code is 128 and the signal's number."""


class _StandardOutput(io.TextIOWrapper):
    """Standard output: a closed pipe ends the program, other errors name it."""

    _failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write text."""
        if text == "":  # even an empty write fails on a full device
            return 0
        with self._errors():
            return super().write(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._errors():
            super().flush()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            if self._failure is not None:  # again, should the caller have passed over it
                raise self._failure
            yield
        except OSError as error:
            if self._failure is None:
                self._failure = error
                _discard(1)
            if isinstance(error, BrokenPipeError):
                raise SystemExit(BROKEN_PIPE) from None
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise OutputError(f"cannot write standard output: {reason}") from error


class _StandardError(io.TextIOWrapper):
    """Standard error: messages that cannot be written are lost, the work is not."""

    def write(self, text: str, /) -> int:
        """Write text."""
        with self._errors():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._errors():
            super().flush()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            _discard(2)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Prepare the standard streams for a program.

    Errors of standard output are an `OutputError`, or `SystemExit` with `BROKEN_PIPE`. Characters
    that its encoding lacks are written as the escapes of JSON, file names that are not UTF-8 as
    their bytes. A closed stream fails when it is used, and its descriptor is not given to a file.
    """
    _occupy_closed()
    codecs.register_error(_OUTPUT_ERRORS, functools.partial(_escape, keep_bytes=True))
    codecs.register_error(_MESSAGE_ERRORS, functools.partial(_escape, keep_bytes=False))
    before = sys.stdout, sys.stderr
    out, messages = _standard(1, "stdout"), _standard(2, "stderr")
    wrapped = []
    if out is not None:
        sys.stdout = _wrapped(out, _StandardOutput, _OUTPUT_ERRORS)
        wrapped.append(sys.stdout)
    if messages is not None:
        sys.stderr = _wrapped(messages, _StandardError, _MESSAGE_ERRORS)
        wrapped.append(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in wrapped:
            with contextlib.suppress(OutputError, SystemExit):  # reported before
                stream.detach()


def _wrapped(
    stream: io.TextIOWrapper, kind: type[io.TextIOWrapper], errors: str
) -> io.TextIOWrapper:
    # ASCII is the encoding of a process without a locale, not a choice.
    is_ascii = codecs.lookup(stream.encoding).name == "ascii"
    return kind(
        stream.buffer,
        encoding="utf-8" if is_ascii else stream.encoding,
        errors=errors if stream.errors in _DEFAULT_ERRORS else stream.errors,
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


def _discard(number: int) -> None:
    """Discard what a stream still buffers: it must not fail again when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _escape(error: UnicodeError, *, keep_bytes: bool) -> tuple[str | bytes, int]:
    r"""Encode the bytes of a file name as they are, or as `\xNN`; other characters as in JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    content = b""
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":
            byte = character.encode("ascii", "surrogateescape")
            content += byte if keep_bytes else f"\\x{byte.hex()}".encode()
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
