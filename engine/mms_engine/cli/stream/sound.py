"""Where `mms stream` gets its sound from, in pieces of a tenth of a second."""

import contextlib
import io
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from mms_engine.audio import read_audio
from mms_engine.errors import AudioError
from mms_engine.types import Float32Array

Piece = Float32Array | bytes
_SECONDS = 0.1
_STDIN_BYTES = 1 << 16
_BEHIND_SECONDS = 30.0
"""Sound of the microphone that may wait."""


def recording(source: str, *, realtime: bool) -> Iterator[Piece]:
    """Yield the samples of a file, at the pace at which they were spoken if `realtime`.

    Raises:
        AudioError: it cannot be read.
    """
    audio = read_audio(Path(source))
    begin, size = time.monotonic(), round(_SECONDS * audio.sample_rate)
    for start in range(0, audio.samples.size, size):
        piece = audio.samples[start : start + size]
        if realtime:
            ready = begin + (start + len(piece)) / audio.sample_rate
            time.sleep(max(0.0, ready - time.monotonic()))
        yield piece


def samples_on_stdin() -> Iterator[Piece]:
    """Yield what comes on stdin, as it comes."""
    source = cast("io.BufferedReader", sys.stdin.buffer)
    while piece := source.read1(_STDIN_BYTES):
        yield piece


def microphone(sample_rate: int) -> Iterator[Piece]:
    """Yield what the microphone hears, until Ctrl-C.

    Raises:
        AudioError: there is none, or the package for it is missing; or what it heard was not
            taken for half a minute, after all of that was yielded.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise AudioError(
            f"the microphone needs the package sounddevice and the library PortAudio ({error}): "
            "pip install 'mms-engine[mic]', and on Debian apt install libportaudio2"
        ) from error
    heard = Waiting(round(_BEHIND_SECONDS / _SECONDS))
    try:
        source = sounddevice.RawInputStream(
            samplerate=sample_rate,
            channels=1,
            dtype="float32",
            blocksize=round(_SECONDS * sample_rate),
            callback=lambda content, *_: heard.put(bytes(content)),
        )
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the microphone cannot be opened: {error}") from error
    with contextlib.closing(source), source:
        yield from heard


class Waiting:
    """Sound that a device gave and nobody has taken yet; it is deaf once that is too much."""

    def __init__(self, most: int) -> None:
        """Hold `most` pieces."""
        self._pieces: queue.Queue[bytes] = queue.Queue(most)
        self._is_deaf = False

    def put(self, piece: bytes) -> None:
        """Take in a piece; for the thread of the device, which must not wait."""
        self._is_deaf = self._is_deaf or self._pieces.full()
        if not self._is_deaf:
            self._pieces.put_nowait(piece)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces, for ever.

        Raises:
            AudioError: there were too many; all that were taken in were yielded before.
        """
        while not (self._is_deaf and self._pieces.empty()):
            yield self._pieces.get()
        raise AudioError(
            f"this machine fell {_BEHIND_SECONDS:g} s behind the microphone: choose longer chunks "
            "(--latency accurate), or a bundle in int8"
        )
