"""Identifier: the language of a recording of any length, of all labels or among some."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from mms_engine.audio import AudioLimits, Normalization
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.normalization import streamed_statistics
from mms_engine.audio.sources import AudioSource, Recording
from mms_engine.backends.options import with_given
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Classifier
from mms_engine.encoder.loading import load_acoustic_model
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.offline import OfflineEncoder, PooledSink, Progress
from mms_engine.encoder.windows import WindowOptions
from mms_engine.errors import BundleCorrupt, LanguageError
from mms_engine.languages import nearest
from mms_engine.lid.activity import BoolArray, FrameLevels
from mms_engine.lid.options import IdentifierOptions
from mms_engine.lid.windows import WindowClassifier
from mms_engine.types import (
    BackendName,
    Device,
    Float32Array,
    Identification,
    IdentificationAnswer,
    LanguageScore,
    LanguageWindow,
    Precision,
)

_NO_LANGUAGE = ""
"""Language of the encoder's rows, which has no adapters to choose."""

Scores = npt.NDArray[np.float64]


class Identifier:
    """Language identification of one bundle. May be used from several threads at once."""

    def __init__(
        self, model: AcousticModel, options: IdentifierOptions, limits: AudioLimits
    ) -> None:
        """Take over a model. Callers use `open`."""
        self._model = model
        self._options = options
        self._labels = model.bundle.model(Wav2Vec2Classifier).labels
        self._reading = ReadOptions(
            limits=limits,
            allow_truncated=options.allow_truncated,
            track=options.track,
            channel=options.channel,
        )
        # Context would be part of the pooled mean.
        windows = WindowOptions(seconds=options.window_seconds, context_seconds=0.0)
        self._encoder = OfflineEncoder(model, windows, options.batch_frames)

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        device: Device | None = None,
        backend: BackendName | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        options: IdentifierOptions | None = None,
        limits: AudioLimits | None = None,
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: Folder that mms-export wrote, of a model such as facebook/mms-lid-126.
            device: `auto`, `cpu` or `cuda`.
            backend: Library that runs the graphs; by default the first usable one.
            precision: Precision of the graphs; by default the best for the device.
            threads: Threads of one run on a CPU; by default every usable core.
            options: All options; those given above take precedence.
            limits: Bounds on the audio that is accepted.

        Raises:
            BundleError: it is missing, damaged, of another task, or lacks the precision.
            BackendError: no backend here can run it.
        """
        chosen = with_given(
            options or IdentifierOptions(),
            device=device,
            backend=backend,
            precision=precision,
            threads=threads,
        )
        opened = open_bundle(Path(bundle), verify=chosen.verify)
        model = load_acoustic_model(opened, chosen, Wav2Vec2Classifier)
        return cls(model, chosen, limits or AudioLimits())

    def __repr__(self) -> str:
        return f"Identifier({self.bundle!r}, {self._model.device})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def bundle(self) -> Bundle:
        """The open bundle."""
        return self._model.bundle

    @property
    def languages(self) -> tuple[str, ...]:
        """Labels that it can tell apart, sorted: ISO 639-3 codes."""
        return self.bundle.languages

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the model's outputs."""
        return self._labels

    @property
    def options(self) -> IdentifierOptions:
        """Options it was opened with."""
        return self._options

    def windows(self) -> WindowClassifier:
        """Return the same model for windows that the caller cuts."""
        return WindowClassifier(self._model)

    def close(self) -> None:
        """Free the graphs, and device memory."""
        self._model.close()

    def identify(
        self,
        audio: AudioSource,
        among: Iterable[str] | None = None,
        top: int = 3,
        *,
        sample_rate: int | None = None,
        progress: Progress | None = None,
    ) -> Identification:
        """Return the language of an audio.

        Files are decoded twice: for their level, mean and variance, then for the encoder, which
        normalises every window by the statistics of the whole recording. Memory does not grow with
        the length of a file. The windows' log-probabilities are averaged, weighted by their speech;
        that is the softmax of the averaged logits.

        Args:
            audio: Path, binary stream, `Audio`, or PCM samples `[N]` or `[N, C]`.
            among: Labels to choose from; by default all. Others are masked before the softmax.
            top: Number of languages in the result, best first.
            sample_rate: Sample rate of an array in Hz; by default the bundle's.
            progress: Called with the seconds of audio finished since its last call.

        Raises:
            ValueError: `top` is less than 1.
            LanguageError: `among` is empty or has an unknown label; the message names the nearest.
            AudioError: the audio cannot be read or is outside the limits.
            BundleCorrupt: the labels are not those of the encoder.
            BackendError: the device failed.
        """
        if top < 1:
            raise ValueError(f"top is {top}, must be at least 1")
        allowed = self._allowed(among)
        manifest = self.bundle.manifest
        recording = Recording(
            audio, manifest.sample_rate, array_rate=sample_rate, options=self._reading
        )
        levels = FrameLevels(self._model.geometry.stride, manifest.sample_rate)
        normalization = streamed_statistics(levels.measured(recording))
        speech = levels.speech()
        result = Identification(
            answer="too_short",
            language=None,
            scores=(),
            windows=(),
            seconds=recording.seconds,
            speech_seconds=self._seconds(int(speech.sum())),
            missing=recording.missing,
            warnings=recording.warnings,
        )
        if self._model.geometry.frames(levels.samples) == 0:
            return result
        if result.speech_seconds < self._options.min_speech_seconds:
            return dataclasses.replace(result, answer="no_speech")
        if not self.bundle.model(Wav2Vec2Classifier).normalize:
            normalization = Normalization(0.0, 1.0)
        sink = PooledSink()
        self._encoder.run_stream(recording, normalization, _NO_LANGUAGE, sink, progress)
        return self._joined(result, sink.pop(0), speech, allowed, top)

    def _allowed(self, among: Iterable[str] | None) -> list[int]:
        """Return the outputs of the labels to choose from."""
        if among is None:
            return list(range(len(self._labels)))
        codes = list(dict.fromkeys([among] if isinstance(among, str) else among))
        rows = {label: row for row, label in enumerate(self._labels)}
        for code in codes:
            if code not in rows:
                near = ", ".join(nearest(code, self._labels, count=3))
                hint = f"; did you mean {near}?" if near else ""
                raise LanguageError(f"{self.bundle.path} cannot identify {code!r}{hint}")
        if not codes:
            raise LanguageError("no languages to choose from: leave out `among` for all")
        return [rows[code] for code in codes]

    def _joined(
        self,
        result: Identification,
        parts: Sequence[tuple[int, Float32Array]],
        speech: BoolArray,
        allowed: list[int],
        top: int,
    ) -> Identification:
        """Return the result of windows, each given by its kept frames and its logits."""
        stacked = np.stack([logits for _, logits in parts]).astype(np.float64)
        if stacked.shape[1] != len(self._labels):
            raise BundleCorrupt(
                f"{self.bundle.path} has {len(self._labels)} labels, its encoder "
                f"{stacked.shape[1]} outputs: export the bundle again"
            )
        windows, weights, start = [], [], 0
        for (frames, _), logits in zip(parts, stacked, strict=True):
            spoken = self._seconds(int(speech[start : start + frames].sum()))
            scores = self._scores(logits, allowed, top)
            answer = self._answer(scores, spoken)
            windows.append(
                LanguageWindow(
                    start=self._seconds(start),
                    end=self._seconds(start + frames),
                    speech_seconds=spoken,
                    answer=answer,
                    language=scores[0].code if answer == "language" else None,
                    scores=scores,
                )
            )
            weights.append(spoken)
            start += frames
        # Without any speech, which `min_speech_seconds` may allow, by duration.
        shares = np.array(weights if any(weights) else [one.end - one.start for one in windows])
        shares /= shares.sum()
        scores = self._scores((shares[:, np.newaxis] * stacked).sum(axis=0), allowed, top)
        answer = self._answer(scores, result.speech_seconds)
        return dataclasses.replace(
            result,
            answer=answer,
            language=scores[0].code if answer == "language" else None,
            scores=scores,
            windows=tuple(windows),
        )

    def _answer(self, scores: Sequence[LanguageScore], speech: float) -> IdentificationAnswer:
        if speech < self._options.min_speech_seconds:
            return "no_speech"
        return "language" if scores[0].logit >= self._options.min_logit else "unsure"

    def _scores(self, logits: Scores, allowed: list[int], top: int) -> tuple[LanguageScore, ...]:
        """Return the best labels of logits `[C]`; of equal ones, the first in the checkpoint."""
        everywhere, within = _softmax(logits), _softmax(logits[allowed])
        order = sorted(range(len(allowed)), key=lambda i: (-logits[allowed[i]], allowed[i]))
        return tuple(
            LanguageScore(
                code=self._labels[allowed[i]],
                probability=float(within[i]),
                unrestricted_probability=float(everywhere[allowed[i]]),
                logit=float(logits[allowed[i]]),
            )
            for i in order[:top]
        )

    def _seconds(self, frames: int) -> float:
        return frames * self._model.geometry.stride / self.bundle.manifest.sample_rate


def _softmax(logits: Scores) -> Scores:
    shares: Scores = np.exp(logits - logits.max())
    shares /= shares.sum()
    return shares
