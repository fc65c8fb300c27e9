"""State machine of one stream: audio in, encoder steps out, logits in, events out.

Step boundaries do not depend on how the audio was cut, and a step depends on its frames alone; so
the text depends neither on the size of the pieces nor on other streams.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mms_engine.asr.streaming.audio_buffer import AudioBuffer
from mms_engine.asr.streaming.contexts import Context, StepSpan
from mms_engine.asr.streaming.endpoints import Endpointer
from mms_engine.asr.streaming.events import (
    Endpoint,
    EndReason,
    Event,
    Final,
    LanguageChange,
    Partial,
)
from mms_engine.asr.streaming.language import LanguageDecision, LanguageStep, LanguageTracker
from mms_engine.asr.streaming.options import SAMPLE_RATES, StreamOptions
from mms_engine.asr.streaming.pcm import Pcm, PcmReader, Resampler
from mms_engine.asr.streaming.utterance import PartialText, UtteranceDecoder
from mms_engine.asr.streaming.vad import VoiceActivity
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.encoder.interface import StepInput, StepOutput
from mms_engine.errors import AudioError, BackendError
from mms_engine.types import Float32Array

Clock = Callable[[], float]
_NO_SAMPLES = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class StreamStep:
    """Next encoder run of a stream."""

    span: StepSpan
    language: str
    samples: Float32Array
    """Shape `[N]`, normalised: audio of the frames without features; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParts:
    """Components of a stream."""

    language: str | None
    """`None` for a stream that finds its language with `tracker`."""
    geometry: FrameGeometry
    sample_rate: int
    """Sample rate of the bundle, Hz."""
    context: Context
    utterance: UtteranceDecoder
    decoder: Callable[[str], UtteranceDecoder]
    """Returns the decoder of a language."""
    epsilon: float | None
    """Addend of the variance that audio is divided by; `None` where it is taken as it is."""
    tracker: LanguageTracker | None = None
    voice: VoiceActivity | None = None
    nbest: int = 1
    clock: Clock = time.monotonic


class StreamCore:
    """State of one stream. Not thread-safe."""

    def __init__(self, parts: StreamParts, options: StreamOptions) -> None:
        """Begin at frame 0."""
        self.language = parts.language
        """Code; `None` while the language is not known, or has no adapter."""
        self.probability: float | None = None
        """Probability of an identified language."""
        self.tracker = parts.tracker
        self.options = options
        self._parts = parts
        self.context = parts.context
        self.utterance = parts.utterance
        self.voice = parts.voice
        self.reader = PcmReader(options.sample_format)
        self.resampler = Resampler(options.sample_rate, parts.sample_rate)
        self.audio = AudioBuffer(
            parts.geometry, options.normalization, parts.sample_rate, epsilon=parts.epsilon
        )
        self.endpointer = Endpointer(options.endpoints, self._frame_seconds)
        self.rate = options.sample_rate
        """Sample rate of the next audio, Hz."""
        self.endings: deque[tuple[EndReason, int]] = deque()
        """Requested ends of utterances, each with its frame."""
        self._change: LanguageDecision | None = None  # applies after the next end
        self._shown = PartialText("", (), 0)
        self._events: list[Event] = []

    @property
    def _frame_seconds(self) -> float:
        return self._parts.geometry.stride / self._parts.sample_rate

    @property
    def _lookback(self) -> int:
        """Frames before the current ones that may be decoded again in another language."""
        return 0 if self.tracker is None else self.tracker.lookback

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio added."""
        return self.audio.end / self._parts.sample_rate

    @property
    def used_seconds(self) -> float:
        """Seconds of audio that steps have consumed."""
        return self.context.featured * self._frame_seconds

    @property
    def _due(self) -> int:
        """Frames from the start of the stream that the next step or language step needs."""
        if self.tracker is None:
            return self.context.needed
        if self.language is None:
            return self.tracker.position + self.tracker.hop
        return min(self.context.needed, self.tracker.due)

    @property
    def due_seconds(self) -> float:
        """Length of the stream, in seconds, at which the next step is due."""
        return self._parts.geometry.samples(self._due) / self._parts.sample_rate

    @property
    def is_ending(self) -> bool:
        """Whether an end is requested that `close` has not carried out."""
        return bool(self.endings)

    @property
    def is_due(self) -> bool:
        """Whether there is work: a step whose audio is complete, or a requested end."""
        return self.is_ending or self._due <= self.audio.frames

    def take_events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def parse(self, pcm: Pcm, sample_rate: int | None = None) -> tuple[Float32Array, int]:
        """Return the samples of a piece of audio and their rate, for `add`.

        Shares no state with the methods below: another thread may run a step meanwhile.

        Raises:
            AudioError: it is not valid audio; the stream is unchanged.
        """
        if sample_rate is not None and sample_rate not in SAMPLE_RATES:
            raise AudioError(f"the sample rate is {sample_rate} Hz, must be 1000 to 768000")
        samples = self.reader.read(pcm)
        self.rate = sample_rate or self.rate
        return samples, self.rate

    def add(self, samples: Float32Array, sample_rate: int) -> None:
        """Add the samples that `parse` returned."""
        if sample_rate != self.resampler.rate:
            self._drain_resampler(sample_rate)
        self.audio.add(self.resampler.convert(samples))

    def _drain_resampler(self, sample_rate: int) -> None:
        used, self.resampler = self.resampler, Resampler(sample_rate, self._parts.sample_rate)
        self.audio.add(used.convert(_NO_SAMPLES, last=True))

    def end(self, reason: EndReason) -> None:
        """Request the end of the utterance after the audio added so far."""
        self._drain_resampler(self.resampler.rate)  # all that was added belongs to it
        self.endings.append((reason, self.audio.frames))

    def next_step(self) -> StreamStep | LanguageStep | None:
        """Return the next step whose audio is complete, or `None`.

        `read` takes the output of a step, `decide` that of a language step.
        """
        available = self.endings[0][1] if self.endings else self.audio.frames
        while True:
            windows = self._language_step(available)
            if windows is not None or self.language is None:
                return windows
            span = self.context.next_span(available, ended=self.is_ending)
            if span is None:
                return None
            self._detect_voice(span)
            if not self._skip(span):
                break
        self.audio.measure(span.end)
        new = self.context.featured
        samples = self.audio.normalized(new, span.end) if new < span.end else _NO_SAMPLES
        return StreamStep(span, self.language, samples)

    def _language_step(self, available: int) -> LanguageStep | None:
        """Give the tracker the hops that precede the next step; return windows to classify."""
        tracker = self.tracker
        if tracker is None:
            return None
        stride = self._parts.geometry.stride
        end = available if self.language is None else min(available, self.context.needed)
        is_last = self.is_ending and end == available
        while not (windows := tracker.windows(ended=False)):
            frames = min(tracker.hop, end - tracker.position)
            if frames < (1 if is_last else tracker.hop):
                break
            start = tracker.position * stride
            tracker.add(self.audio.samples(start, start + frames * stride))
            if self.language is None and tracker.unused > self.utterance.frame:
                self._restart(tracker.unused)
        if not windows and is_last and self.language is None:
            windows = tracker.windows(ended=True)
        if not windows:
            return None
        spans = [self._parts.geometry.span(*window) for window in windows]
        return LanguageStep(tuple(self.audio.samples(own.start, own.stop) for own in spans))

    def decide(self, logits: Sequence[Float32Array]) -> None:
        """Take the logits of a language step; `take_events` returns its events.

        Raises:
            BundleError, LanguageModelError: the language's adapter, or the options, cannot be used.
        """
        decision = None if self.tracker is None else self.tracker.take(logits)
        if decision is None:
            return
        decision = replace(decision, frame=max(decision.frame, self.utterance.frame))
        if self.language is None or decision.code == self.language:
            self._apply(decision)
            return
        if decision.frame > self.utterance.frame + self.utterance.frames:
            # Steps in the old language up to there come first.
            self._change = decision
            self.endings.appendleft(("language", decision.frame))
            return
        if decision.frame > self.utterance.frame:
            self.utterance.cut(decision.frame)
            self._finish("language")
        self._apply(decision)

    def use_language(self, code: str | None, probability: float | None) -> None:
        """Decode in an identified language from now on; `None` for none.

        Raises:
            BundleError, LanguageModelError: the language's adapter, or the options, cannot be used.
        """
        if code is not None and code != self.language:
            self.utterance = self._parts.decoder(code)
        self.language, self.probability = code, probability

    def _apply(self, decision: LanguageDecision) -> None:
        """Continue in a decided language from its frame on."""
        if decision.code != self.language:
            self.use_language(decision.code, decision.probability)
            self.utterance.begin(decision.frame)
            self.context.reset(decision.frame)
            self.endpointer.start()
            self._shown = PartialText("", (), 0)
        self.probability = decision.probability
        self._events.append(
            LanguageChange(
                decision.code,
                decision.label,
                decision.probability,
                round(decision.frame * self._frame_seconds, 3),
                self.audio_seconds,
                self._parts.clock(),
            )
        )

    def _detect_voice(self, span: StepSpan) -> None:
        if self.voice is not None:
            end = span.end * self._parts.geometry.stride
            self.voice.detect(self.audio.samples(self.voice.end, max(end, self.voice.end)))

    def _skip(self, span: StepSpan) -> bool:
        """Skip a step of silence between utterances."""
        rules = self.options.endpoints
        if rules is None or not rules.skip_silence or not self.endpointer.is_idle:
            return False
        if self.voice is not None:
            quiet = not self.voice.frames(span.start, span.end).any()
        else:
            quiet = self.audio.is_quiet(span.start, span.end, rules.quiet_db)
        if not quiet:
            return False
        self._restart(span.kept if span.kept > span.start else span.end)
        return True

    def _restart(self, frame: int) -> None:
        """Begin an utterance at a frame without left context, and drop the audio before it."""
        self.audio.skip(frame)
        self.context.reset(frame)
        self.utterance.begin(frame)
        if self.tracker is not None:
            self.tracker.begin(frame)
        self._forget(frame)

    def _forget(self, frame: int) -> None:
        """Drop audio before a frame that nothing will go back to."""
        if self.tracker is not None:
            frame = min(frame, self.tracker.position)
        self.audio.forget(max(0, frame - self._lookback))

    def row(self, step: StreamStep, features: Float32Array) -> StepInput:
        """Return the encoder input; `features` are those of the step's samples."""
        return self.context.row(step.span, features)

    def read(self, step: StreamStep, output: StepOutput) -> None:
        """Decode the output of a step; `take_events` returns its events.

        Raises:
            BackendError: the logits hold NaN or +inf. The utterance ends before the step, and the
                next begins after it.
        """
        logits = self.context.read(step.span, output)
        # Only now: a step that failed on the device is run again.
        self._forget(step.span.kept)
        try:
            self._decode(logits.kept)
        except ValueError as error:
            self._finish("error")
            self._restart(step.span.kept)
            raise BackendError(f"the encoder's logits cannot be decoded: {error}") from error
        if not self.is_ending:
            self._update_partial(logits.tail)

    def _decode(self, logits: Float32Array) -> None:
        while len(logits):
            cut = self.endpointer.find(self._speech(logits))
            count = len(logits) if cut is None else cut.frames
            self.utterance.step(logits[:count])
            logits = logits[count:]
            if cut is not None:
                self._finish(cut.reason)

    def _speech(self, logits: Float32Array) -> npt.NDArray[np.bool_]:
        """Return whether each of the utterance's next frames is speech, bool `[N]`."""
        speech = self.utterance.speech(logits)
        if self.voice is not None:
            start = self.utterance.frame + self.utterance.frames
            self.voice.forget(max(0, start - self._lookback))
            speech &= self.voice.frames(start, start + len(logits))
        return speech

    def release(self) -> None:
        """Free device memory; the stream cannot be used afterwards."""
        self.context.release()

    def close(self) -> None:
        """Carry out the first requested end, once `next_step` returns `None`."""
        if not self.endings:
            raise RuntimeError("`close` without `end`")
        reason, frame = self.endings.popleft()
        self._finish(reason)
        change, self._change = self._change, None
        if change is not None:
            self._apply(change)
            return
        self._restart(frame)

    def _update_partial(self, tail: Float32Array) -> None:
        ahead = tail if self.options.tentative else tail[:0]
        partial = self.utterance.partial(ahead)
        if self.tracker is not None:
            partial = partial.revocable(self.tracker.settled * self._frame_seconds)
        if (partial.text, partial.stable_chars) == (self._shown.text, self._shown.stable_chars):
            return
        self._shown = partial
        self._events.append(
            Partial(
                partial.text,
                partial.words,
                partial.stable_chars,
                self.audio_seconds,
                self._parts.clock(),
            )
        )

    def _finish(self, reason: EndReason | None) -> None:
        audio, now = self.audio_seconds, self._parts.clock()
        start = self.utterance.frame * self._frame_seconds
        end = self.utterance.frame + self.utterance.frames
        transcript = self.utterance.finish(self._parts.nbest)
        if self.tracker is not None:
            transcript = replace(transcript, language_probability=self.probability)
        if transcript.text:
            self._events.append(Final(transcript, round(start, 3), audio, now))
        if reason is not None or transcript.text:
            at = round(end * self._frame_seconds, 3)
            self._events.append(Endpoint(reason or "silence", at, audio, now))
        self.utterance.begin(end)
        self.endpointer.start()
        self._shown = PartialText("", (), 0)
