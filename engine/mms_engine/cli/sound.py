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
        AudioError: there is none, or the package for it is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise AudioError(
            f"the microphone needs the package sounddevice and the library PortAudio ({error}): "
            "pip install 'mms-engine[mic]', and on Debian apt install libportaudio2"
        ) from error
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
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
        while True:
            yield heard.get()
