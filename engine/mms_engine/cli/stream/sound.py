"""Audio sources of `mms stream`: a file, the microphone, or samples on stdin."""

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from mms_engine.audio import read_audio
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

Piece = Float32Array | bytes
_PIECE_SECONDS = 0.1
_STDIN_BYTES = 1 << 16
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


def recording(source: str, *, realtime: bool) -> Iterator[Piece]:
    """Yield the samples of a file, with `realtime` at the pace of the recording.

    Raises:
        AudioError: it cannot be read.
    """
    audio = read_audio(Path(source))
    begin, size = time.monotonic(), round(_PIECE_SECONDS * audio.sample_rate)
    for start in range(0, audio.samples.size, size):
        piece = audio.samples[start : start + size]
        if realtime:
            ready = begin + (start + len(piece)) / audio.sample_rate
            time.sleep(max(0.0, ready - time.monotonic()))
        yield piece


def samples_on_stdin() -> Iterator[Piece]:
    """Yield bytes of stdin as they arrive."""
    # Unbuffered: a daemon thread inside a buffered read would abort the interpreter's shutdown.
    source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    while piece := source.read(_STDIN_BYTES):
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
