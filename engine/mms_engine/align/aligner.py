"""Aligner: the times of a text's words in a recording of any length."""

import dataclasses
from pathlib import Path
from typing import Any, Self

import numpy as np

from mms_engine.align.emission import EmissionSink, TargetEmission, decode_letters
from mms_engine.align.matching import match_letters
from mms_engine.align.options import AlignerOptions
from mms_engine.align.regions import Passage, RegionFinder, untrusted_passages
from mms_engine.align.repeats import Comparer, RepeatSettler
from mms_engine.align.result import ResultBuilder
from mms_engine.align.search import (
    STRAY_LETTERS,
    TRUSTED_MARGIN,
    find_text,
    gather_letters,
    word_margins,
)
from mms_engine.align.target import TargetPlanner, TextLetters
from mms_engine.align.times import LAST_SOUND_SECONDS, WordFrames, word_frames
from mms_engine.audio import AudioLimits, Normalization
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.normalization import streamed_statistics
from mms_engine.audio.sources import AudioSource, Recording
from mms_engine.backends.options import with_given
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2, Wav2Vec2Ctc
from mms_engine.encoder.loading import load_acoustic_model
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.offline import OfflineEncoder, Progress
from mms_engine.errors import AlignmentError
from mms_engine.text.targets import TargetText, targets
from mms_engine.text.vocabulary import WORD_BOUNDARY, Vocabulary
from mms_engine.types import Alignment, BackendName, Device, Precision

_BLOCK_SECONDS = 60.0


class Aligner:
    """Forced aligner of one bundle. May be used from several threads at once.

    The bundle is one of the MMS aligner, whose letters are romanised, or of speech recognition in
    any language, with the language's own letters.
    """

    def __init__(self, model: AcousticModel, options: AlignerOptions, limits: AudioLimits) -> None:
        """Take over a model. Callers use `open`."""
        self._model = model
        self._options = options
        self._reading = ReadOptions(
            limits=limits,
            allow_truncated=options.allow_truncated,
            track=options.track,
            channel=options.channel,
        )
        self._encoder = OfflineEncoder(model, options.windows, options.batch_frames)

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        device: Device | None = None,
        backend: BackendName | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        options: AlignerOptions | None = None,
        limits: AudioLimits | None = None,
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: Folder that mms-export wrote.
            device: `auto`, `cpu` or `cuda`.
            backend: Library that runs the graphs; by default the first usable one.
            precision: Precision of the graphs; by default the best for the device.
            threads: Threads of one run on a CPU; by default every usable core.
            options: All options; those given above take precedence.
            limits: Bounds on the audio that is accepted.

        Raises:
            BundleError: it is missing, damaged, or lacks the precision.
            BackendError: no backend here can run it.
        """
        chosen = with_given(
            options or AlignerOptions(),
            device=device,
            backend=backend,
            precision=precision,
            threads=threads,
        )
        opened = open_bundle(Path(bundle), verify=chosen.verify)
        return cls(load_acoustic_model(opened, chosen), chosen, limits or AudioLimits())

    def __repr__(self) -> str:
        return f"Aligner({self.bundle!r}, {self._model.device})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def bundle(self) -> Bundle:
        """The open bundle."""
        return self._model.bundle

    @property
    def romanized(self) -> bool:
        """Whether the letters are romanised, so that text of any language can be aligned."""
        return self.bundle.model(Wav2Vec2Ctc).text == "uroman"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it can align, sorted; none if it can align any."""
        return () if self.romanized else self.bundle.languages

    def close(self) -> None:
        """Free the graphs, and device memory."""
        self._model.close()

    def align(
        self,
        audio: AudioSource,
        text: str,
        language: str,
        *,
        sample_rate: int | None = None,
        progress: Progress | None = None,
    ) -> Alignment:
        """Return the times of a text's words in an audio.

        Files are decoded while they are encoded; where the model normalises its input, a first
        pass decodes the whole file for its mean and variance. Memory holds the emission, 25 MB an
        hour with 35 letters, and neither the samples nor the search exceed a constant.

        Args:
            audio: Path, binary stream, `Audio`, or PCM samples `[N]` or `[N, C]`.
            text: The text, as written: lines, punctuation, any script.
            language: Code as MMS writes it.
            sample_rate: Sample rate of an array in Hz; by default the bundle's.
            progress: Called with the seconds of audio finished since its last call.

        Raises:
            AlignmentError: the text has no letters of the vocabulary, the audio no frames, or they
                are too long and have nothing in common.
            AudioError: the audio cannot be read or is outside the limits.
            LanguageError: the bundle does not have the language.
            TextError: the text cannot be read.
            BundleError: an adapter is damaged.
            BackendError: the device failed.
        """
        spelling = UROMAN_LANGUAGE if self.romanized else language
        vocabulary = self._model.vocabulary(spelling)
        target_text = self._target(text, language, vocabulary)
        recording = Recording(
            audio,
            self.bundle.manifest.sample_rate,
            array_rate=sample_rate,
            options=self._reading,
        )
        emission = self._emission(recording, target_text, vocabulary, spelling, progress)
        found = align_emission(
            emission, target_text, vocabulary, self._options, self._model.frame_seconds
        )
        return dataclasses.replace(
            found,
            language=language,
            seconds=recording.seconds,
            missing=recording.missing,
            warnings=recording.warnings,
        )

    def _target(self, text: str, language: str, vocabulary: Vocabulary) -> TargetText:
        found = targets(
            text,
            language,
            vocabulary,
            romanized=self.romanized,
            numbers=self._options.numbers,
            split=self._options.split,
        )
        if not found.words:
            raise AlignmentError("the text is empty")
        if not any(word.letters for word in found.words):
            raise AlignmentError(
                f"none of the text's {len(found.words)} words has a letter of the vocabulary of "
                f"{language}: check the language and the script"
            )
        return found

    def _emission(
        self,
        recording: Recording,
        text: TargetText,
        vocabulary: Vocabulary,
        language: str,
        progress: Progress | None,
    ) -> TargetEmission:
        normalization = Normalization(0.0, 1.0)
        model = self.bundle.model(Wav2Vec2)
        if model.normalize:
            normalization = streamed_statistics(recording, model.normalize_epsilon)
        tokens = {letter.token for word in text.words for letter in word.letters}
        if (boundary := boundary_of(vocabulary)) is not None:
            tokens.add(boundary)
        sink = EmissionSink(sorted(tokens), self._options.max_bytes)
        self._encoder.run_stream(recording, normalization, language, sink, progress)
        emission = sink.finish()
        if emission.frames == 0:
            raise AlignmentError(
                f"the audio has {recording.seconds:.3f} s, less than a frame "
                f"({self._model.geometry.receptive_field / self.bundle.manifest.sample_rate} s)"
            )
        return emission


def boundary_of(vocabulary: Vocabulary) -> int | None:
    """Return the token between words, if the vocabulary has one."""
    return vocabulary.tokens.index(WORD_BOUNDARY) if vocabulary.has_boundary else None


def align_emission(
    emission: TargetEmission,
    text: TargetText,
    vocabulary: Vocabulary,
    options: AlignerOptions,
    frame_seconds: float,
    block_seconds: float = _BLOCK_SECONDS,
) -> Alignment:
    """Return the times of a text's words in an emission.

    Args:
        emission: At least one frame.
        text: At least one word with letters.
        vocabulary: Tokens of the emission.
        options: Stars, times and padding.
        frame_seconds: Seconds from the start of a frame to the start of the next.
        block_seconds: Audio after which the search may be divided, where the model decodes the
            text as written. Infinity searches the whole text at once.

    Raises:
        AlignmentError: they are too long and have nothing in common.
    """
    frames = emission.frames
    letters = TextLetters.of(text)
    decoded = decode_letters(emission.best, vocabulary)
    comparer = Comparer()
    settler = RepeatSettler(letters, _line_starts(text), decoded, comparer)
    matching, repeated = settler.settle(match_letters(letters.tokens, decoded.tokens))
    planner = TargetPlanner(
        text, letters, decoded, matching, frames, boundary_of(vocabulary), options.stars
    )
    block_frames = round(min(frames, block_seconds / frame_seconds))
    target, spans, spoken = find_text(emission, letters, planner, block_frames)
    gaps = [gap for gap in matching.gaps if gap not in spoken]
    trusted = word_margins(emission, letters, spans) >= TRUSTED_MARGIN
    spans = gather_letters(emission, letters, spans, STRAY_LETTERS * planner.letter_frames)
    for gap in gaps:
        trusted[letters.gap_words(gap)] = False
    tight = word_frames(text, letters, spans, decoded, frames)
    finder = RegionFinder(text, letters, decoded, tight, comparer)
    passages = finder.passages(gaps, repeated)
    passages += untrusted_passages(passages, trusted, letters.has_letters)

    widened = _widened(tight, passages, options, frame_seconds, frames)
    build = ResultBuilder(text, letters, spans, frame_seconds)
    words = build.words(widened, trusted, filled=options.times == "filled")
    return Alignment(
        words=tuple(words),
        lines=tuple(build.lines(words, target.shortages)),
        regions=tuple(build.regions(passages, tight, decoded, emission, vocabulary)),
        seconds=frames * frame_seconds,
        language="",
        times=options.times,
        trusted_share=build.trusted_share(words),
    )


def _line_starts(text: TargetText) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return whether each word is the first of its line."""
    lines = np.array([word.line for word in text.words], np.int64)
    return np.diff(lines, prepend=-1) > 0


def _widened(
    tight: WordFrames,
    passages: list[Passage],
    options: AlignerOptions,
    frame_seconds: float,
    frames: int,
) -> WordFrames:
    """Return the words with the time of the gaps that the options give them."""
    words = len(tight.starts)
    is_filled = options.times == "filled"
    shared = _shared_gaps(passages, words) if is_filled else np.zeros(words + 1, np.bool_)
    padding = options.padding_seconds / frame_seconds
    tail = LAST_SOUND_SECONDS / frame_seconds if options.times == "spoken" else 0.0
    return tight.widened(padding, padding + tail, frames, shared)


def _shared_gaps(passages: list[Passage], words: int) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return the gaps between words that they share: those without speech of other words."""
    shared = np.ones(words + 1, np.bool_)
    shared[[0, -1]] = False
    for passage in passages:
        if passage.first_word == passage.last_word:
            shared[passage.first_word] = False
    return shared
