"""Audio sources of `mms stream`: a file, the microphone, or samples on stdin."""

import contextlib
import io
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator

import click
import numpy as np

from mms_engine.audio import SAMPLE_RATE
from mms_engine.audio.containers import is_container
from mms_engine.audio.read import AudioReader
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

Piece = Float32Array | bytes
_PIECE_SECONDS = 0.1
_STDIN_BYTES = 1 << 16
_MAGIC_BYTES = 16
_MPEG_SYNC = 0xFF
_MPEG_BYTES = 4096
"""Bytes that hold two frames of MP3 or AAC."""
_MICROPHONE_SECONDS = 30.0
"""Audio of the microphone that may wait."""


class AudioQueue:
    """Bounded queue between an audio source and the recogniser, each in its own thread."""

    def __init__(self) -> None:
        """Create an empty queue."""
        self._pieces: deque[Piece] = deque()
        self._changed = threading.Condition()
        self._has_reader = False
        self._is_ended = False
        self._error: Exception | None = None

    def put(self, piece: Piece, most: int = 4) -> bool:
        """Append a piece once fewer than `most` wait; return whether the queue is still open."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ended or len(self._pieces) < most)
            return self._append(piece)

    def put_nowait(self, piece: Piece, most: int) -> None:
        """Append a piece; if `most` wait already, end the queue: text across a gap is wrong."""
        with self._changed:
            if len(self._pieces) < most:
                self._append(piece)
                return
        self.end(
            AudioError(
                f"recognition fell {_MICROPHONE_SECONDS:g} s behind the microphone: choose longer "
                "chunks (--latency accurate), or a bundle in int8"
            )
        )

    def _append(self, piece: Piece) -> bool:
        if not self._is_ended:
            self._pieces.append(piece)
            self._changed.notify_all()
        return not self._is_ended

    def end(self, error: Exception | None = None) -> bool:
        """End the queue behind the pieces that wait; return whether a reader takes them.

        Args:
            error: Exception that the reader gets after the last piece.
        """
        with self._changed:
            if not self._is_ended:
                self._is_ended, self._error = True, error
            self._changed.notify_all()
            return self._has_reader

    def __iter__(self) -> Iterator[Piece]:
        """Yield pieces until the queue is ended and empty."""
        self._has_reader = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._is_ended)
                if not self._pieces:
                    break
                piece = self._pieces.popleft()
                self._changed.notify_all()
            yield piece
        if self._error is not None:
            raise self._error


def pump(pieces: Iterator[Piece], queue: AudioQueue) -> None:
    """Start a thread that puts pieces into a queue until either ends."""

    def body() -> None:
        try:
            for piece in pieces:
                if not queue.put(piece):
                    return
            queue.end()
        except Exception as error:  # noqa: BLE001 (raised by the reader)
            queue.end(error)

    threading.Thread(target=body, name="mms-audio", daemon=True).start()


def recording(reader: AudioReader, *, realtime: bool) -> Iterator[Piece]:
    """Yield the samples of a recording as they are decoded, then print its warnings.

    Args:
        reader: Reader of the recording.
        realtime: Whether to keep the pace of the recording.

    Raises:
        AudioError: it cannot be read.
    """
    begin, seconds = time.monotonic(), 0.0
    for piece in _tenths(reader):
        seconds += len(piece) / SAMPLE_RATE
        if realtime:
            time.sleep(max(0.0, begin + seconds - time.monotonic()))
        yield piece
    for warning in reader.report.all_warnings():
        click.echo(f"Warning: {reader.report.name}: {warning}", err=True)


def _tenths(samples: Iterable[Float32Array]) -> Iterator[Float32Array]:
    """Yield samples in pieces of 0.1 s; the last may be shorter."""
    size = round(_PIECE_SECONDS * SAMPLE_RATE)
    waiting = np.zeros(0, np.float32)
    for block in samples:
        waiting = np.concatenate([waiting, block])
        whole = len(waiting) // size * size
        for start in range(0, whole, size):
            yield waiting[start : start + size]
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


class StandardInput(io.RawIOBase):
    """Standard input, of which the beginning is read ahead."""

    def __init__(self) -> None:
        """Use standard input."""
        # Unbuffered: a daemon thread inside a buffered read would abort the interpreter's shutdown.
        self._source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        self._ahead = b""
        self.name = "standard input"

    def is_container(self) -> bool:
        """Return whether it begins a container rather than raw samples, once enough has come."""
        while len(self._ahead) < _MAGIC_BYTES or (
            self._ahead[0] == _MPEG_SYNC and len(self._ahead) < _MPEG_BYTES
        ):
            more = self._read(_STDIN_BYTES)
            if not more:
                break
            self._ahead += more
        return is_container(self._ahead)

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, as soon as there are any."""
        if not self._ahead:
            return self._read(size)
        content, self._ahead = self._ahead[:size], self._ahead[size:]
        return content

    def _read(self, size: int) -> bytes:
        try:
            return self._source.read(size) or b""
        except OSError as error:
            raise AudioError(f"standard input cannot be read: {error.strerror}") from error

    def pieces(self) -> Iterator[Piece]:
        """Yield bytes as they arrive."""
        while piece := self.read(_STDIN_BYTES):
            yield piece


@contextlib.contextmanager
def microphone(sample_rate: int, queue: AudioQueue) -> Iterator[None]:
    """Record the microphone into a queue.

    Raises:
        AudioError: there is no microphone, or its package is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise AudioError(
            f"the microphone needs the package sounddevice and the library PortAudio ({error}): "
            "pip install 'mms-engine[mic]', and on Debian apt install libportaudio2"
        ) from error
    most = round(_MICROPHONE_SECONDS / _PIECE_SECONDS)
    try:
        source = sounddevice.RawInputStream(
            samplerate=sample_rate,
            channels=1,
            dtype="float32",
            blocksize=round(_PIECE_SECONDS * sample_rate),
            callback=lambda content, *_: queue.put_nowait(bytes(content), most),
        )
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the microphone cannot be opened: {error}") from error
    with contextlib.closing(source), source:
        yield
