"""The engine on recordings: whole ones, with aligned words, and as simulated streams."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from mms_bench.errors import Failed, Skipped
from mms_bench.peers.base import Setup
from mms_bench.peers.engine import check_precision, logits
from mms_bench.run.audio import Recording, joined, read_recordings
from mms_bench.run.context import Context
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import Event, StreamOptions
from mms_engine.audio import SAMPLE_RATE, normalize
from mms_engine.text.vocabulary import WORD_BOUNDARY, Vocabulary
from mms_engine.types import Audio, Float32Array, Precision, Word
from mms_kernels import forced_align

if TYPE_CHECKING:
    from mms_engine.encoder.model import AcousticModel

Times = npt.NDArray[np.float64]
"""Beginning and end of words in seconds, `[W, 2]`."""

_RECORDING_SECONDS = 60.0
_PIECE_SECONDS = 0.02
"""Audio fed at a time: a telephony packet, the resolution of the delays."""


def open_recognizer(setup: Setup, peer: str) -> Recognizer:
    """Open the bundle on the CPU in the precision of a peer; Skipped if it has no such graphs."""
    precision = cast("Precision", peer.removeprefix("ours-"))
    check_precision(setup, precision)
    bundle = cast("Path", setup.bundle)
    return Recognizer.open(bundle, device="cpu", precision=precision, threads=setup.threads)


def long_recordings(context: Context) -> list[Recording]:
    """Return recordings of about a minute in the languages of the run; Skipped if none."""
    table = context.options.recordings
    found = joined(read_recordings(table, context.setup.languages), _RECORDING_SECONDS)
    if not found:
        raise Skipped(f"{table.name} has no recording in these languages")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Offline:
    """Result for a whole recording."""

    text: str
    words: tuple[Word, ...]
    cpu_seconds: float
    """Processor time of all threads, from samples to text."""
    logits: Float32Array
    """Shape `[T, V]`: the recording as one utterance."""
    vocabulary: Vocabulary
    frame_seconds: float

    def align(self, words: Sequence[str]) -> Times:
        """Return the times of words that cover the whole recording; Failed if they do not fit."""
        if not words:
            return np.empty((0, 2))
        ids = {token: number for number, token in enumerate(self.vocabulary.tokens)}
        boundary = [ids[WORD_BOUNDARY]] if self.vocabulary.has_boundary else []
        targets: list[int] = []
        places: list[tuple[int, int]] = []
        for word in words:
            targets += boundary if targets else []
            places.append((len(targets), len(targets)))
            targets += _spelling(word, ids)
            places[-1] = (places[-1][0], len(targets) - 1)
        try:
            found = forced_align(self.logits, np.array(targets, np.int32))[0]
        except ValueError as error:
            raise Failed(f"the text cannot be aligned to the recording: {error}") from error
        spans = [(found.starts[first], found.ends[last]) for first, last in places]
        return np.array(spans, np.float64) * self.frame_seconds


def _spelling(word: str, ids: dict[str, int]) -> list[int]:
    """Return the tokens of a word, the longest first."""
    tokens = []
    while word:
        size = next((n for n in range(len(word), 0, -1) if word[:n] in ids), 0)
        if not size:
            raise Failed(f"the vocabulary has no token for {word[0]!r}")
        tokens.append(ids[word[:size]])
        word = word[size:]
    return tokens


def transcribe(recognizer: Recognizer, model: "AcousticModel", recording: Recording) -> Offline:
    """Transcribe a whole recording; the model has its logits."""
    audio = Audio(recording.samples, SAMPLE_RATE)
    begin = time.process_time()
    transcript = recognizer.transcribe(audio, recording.language)
    taken = time.process_time() - begin
    found = logits(model, [(normalize(recording.samples), recording.language)])[0]
    return Offline(
        text=transcript.text,
        words=transcript.words,
        cpu_seconds=taken,
        logits=np.ascontiguousarray(found),
        vocabulary=model.vocabulary(recording.language),
        frame_seconds=model.frame_seconds,
    )


def simulate(
    recognizer: Recognizer, recording: Recording, options: StreamOptions
) -> tuple[tuple[Event, ...], float]:
    """Feed a stream as if computing took no time; return events and CPU seconds of all threads.

    The `audio_seconds` of an event is when it was displayed.
    """
    begin = time.process_time()
    events: list[Event] = []
    size = round(_PIECE_SECONDS * SAMPLE_RATE)
    with recognizer.stream(recording.language, options) as stream:
        for start in range(0, len(recording.samples), size):
            events += stream.feed(recording.samples[start : start + size])
        events += stream.finish()
    return tuple(events), time.process_time() - begin
