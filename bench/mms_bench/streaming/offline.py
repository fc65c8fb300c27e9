"""The engine and the whole recording at once: what streams are compared with."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mms_bench.errors import WorkerFailed
from mms_bench.streaming.recordings import Recording
from mms_bench.streaming.shown import Spoken
from mms_engine.asr.options import RecognizerOptions
from mms_engine.asr.recognizer import Recognizer
from mms_engine.audio import SAMPLE_RATE, AudioLimits, normalize
from mms_engine.bundle import Bundle
from mms_engine.decoding.host import HostDecoders
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.loading import load_acoustic_model
from mms_engine.encoder.model import AcousticModel
from mms_engine.text.vocabulary import WORD_BOUNDARY, Vocabulary
from mms_engine.types import Audio, Float32Array, Precision, Word
from mms_kernels import forced_align


class Engine:
    """A recogniser, and the acoustic model below it, which gives logits."""

    def __init__(self, bundle: Bundle, precision: Precision, threads: int) -> None:
        options = RecognizerOptions(device="cpu", precision=precision, threads=threads)
        self.model: AcousticModel = load_acoustic_model(bundle, options)
        decoders = HostDecoders(None)
        self.recognizer = Recognizer(self.model, decoders, decoders, options, AudioLimits())


@dataclass(frozen=True, slots=True, eq=False)
class Offline:
    """What the engine makes of a whole recording."""

    text: str
    words: tuple[Word, ...]
    cpu_seconds: float
    """Processor time of all threads, from samples to text."""
    logits: Float32Array
    """Shape `[T, V]`: of the recording as one utterance."""
    vocabulary: Vocabulary
    frame_seconds: float

    def spoken(self, words: Sequence[str]) -> Spoken:
        """Say when words were said: those of the whole recording, aligned to the logits.

        Raises:
            WorkerFailed: they cannot be what was said.
        """
        if not words:
            return Spoken((), ())
        targets, lasts = _targets(words, self.vocabulary)
        try:
            alignment = forced_align(self.logits, targets)[0]
        except ValueError as error:
            raise WorkerFailed(f"the text cannot be aligned to the recording: {error}") from error
        firsts = [0, *(last + 1 for last in lasts[:-1])]
        boundary = int(self.vocabulary.has_boundary)
        starts = [alignment.starts[first + boundary * (n > 0)] for n, first in enumerate(firsts)]
        ends = alignment.ends[lasts]
        seconds = self.frame_seconds
        return Spoken(
            tuple(float(start) * seconds for start in starts),
            tuple(float(end) * seconds for end in ends),
        )


def transcribe(engine: Engine, recording: Recording) -> Offline:
    """Transcribe a whole recording."""
    audio = Audio(recording.samples, SAMPLE_RATE)
    begin = time.process_time()
    transcript = engine.recognizer.transcribe(audio, recording.language)
    taken = time.process_time() - begin
    segment = Segment(normalize(recording.samples), recording.language)
    return Offline(
        text=transcript.text,
        words=transcript.words,
        cpu_seconds=taken,
        logits=np.ascontiguousarray(engine.model.logits([segment])[0]),
        vocabulary=engine.model.vocabulary(recording.language),
        frame_seconds=engine.model.frame_seconds,
    )


def _targets(words: Sequence[str], vocabulary: Vocabulary) -> tuple[np.ndarray, list[int]]:
    """Return the tokens of words, and the place of each word's last one."""
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    longest = max(map(len, ids))
    tokens: list[int] = []
    lasts: list[int] = []
    for word in words:
        if tokens and vocabulary.has_boundary:
            tokens.append(ids[WORD_BOUNDARY])
        place = 0
        while place < len(word):
            token = _longest(word[place : place + longest], ids)
            tokens.append(ids[token])
            place += len(token)
        lasts.append(len(tokens) - 1)
    return np.array(tokens, np.int32), lasts


def _longest(text: str, ids: dict[str, int]) -> str:
    """Return the longest token that a text begins with."""
    for size in range(len(text), 0, -1):
        if text[:size] in ids:
            return text[:size]
    raise WorkerFailed(f"the vocabulary has no token for {text[:1]!r}")
