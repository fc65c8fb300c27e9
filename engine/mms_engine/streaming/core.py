"""One stream without a device: audio in, encoder steps out, logits in, events out.

Steps lie on the same frames however the audio was cut, and each is computed from them alone; so
the text does not depend on the size of the pieces, nor on what else runs beside the stream.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.errors import AudioError
from mms_engine.frames import FrameGeometry
from mms_engine.streaming.contexts import Context, Encoded, EncoderRow, Plan
from mms_engine.streaming.endpoints import Endpointer
from mms_engine.streaming.events import Endpoint, EndReason, Event, Final, Partial
from mms_engine.streaming.heard import Heard
from mms_engine.streaming.options import SAMPLE_RATES, StreamOptions
from mms_engine.streaming.pcm import Pcm, PcmReader, Resampler
from mms_engine.streaming.utterance import Spoken, TextSoFar
from mms_engine.streaming.voice import Voice
from mms_engine.types import Float32Array

Clock = Callable[[], float]
_NO_SAMPLES = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """An encoder run that a stream needs next."""

    plan: Plan
    language: str
    samples: Float32Array
    """Shape `[N]`, normalised: of the frames whose features are not there yet; perhaps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a stream is put together of."""

    language: str
    geometry: FrameGeometry
    sample_rate: int
    """Of the bundle, Hz."""
    context: Context
    spoken: Spoken
    voice: Voice | None = None
    normalize: bool = True
    """Whether the model takes sound of mean 0 and variance 1."""
    nbest: int = 1
    clock: Clock = time.monotonic


class StreamCore:
    """The state of one stream. Not for several threads at once."""

    def __init__(self, parts: Parts, options: StreamOptions) -> None:
        self.language = parts.language
        self.options = options
        self._parts = parts
        self.context = parts.context
        self.spoken = parts.spoken
        self.voice = parts.voice
        self.reader = PcmReader(options.sample_format)
        self.resampler = Resampler(options.sample_rate, parts.sample_rate)
        self.heard = Heard(
            parts.geometry,
            options.normalization,
            parts.sample_rate,
            normalize=parts.normalize,
        )
        self.endpointer = Endpointer(options.endpoints, self._frame_seconds)
        self._endings: deque[tuple[EndReason, int]] = deque()
        """Where the caller ended utterances, and the frame at which each ends."""
        self._shown = TextSoFar("", (), 0)

    @property
    def _frame_seconds(self) -> float:
        return self._parts.geometry.stride / self._parts.sample_rate

    @property
    def audio_seconds(self) -> float:
        """Audio that was taken in."""
        return self.heard.end / self._parts.sample_rate

    @property
    def pending_seconds(self) -> float:
        """Audio that was taken in and that no step has heard yet."""
        return self.audio_seconds - self.context.featured * self._frame_seconds

    @property
    def is_ending(self) -> bool:
        """Whether an utterance was ended by `end` and not yet by `close`."""
        return bool(self._endings)

    @property
    def is_due(self) -> bool:
        """Whether there is something to do: a step whose audio is there, or an ending."""
        return self.is_ending or self.context.plan(self.heard.frames, ended=False) is not None

    def accept(self, pcm: Pcm, sample_rate: int | None = None) -> None:
        """Take in audio, of any length.

        Raises:
            AudioError: it is not audio; the stream is as it was.
        """
        if sample_rate is not None and sample_rate not in SAMPLE_RATES:
            raise AudioError(f"audio came at {sample_rate} Hz, possible are 1000 to 768000")
        samples = self.reader.read(pcm)
        if sample_rate is not None and sample_rate != self.resampler.rate:
            fresh = Resampler(sample_rate, self._parts.sample_rate)
            self.heard.add(self.resampler.convert(_NO_SAMPLES, last=True))
            self.resampler = fresh
        self.heard.add(self.resampler.convert(samples))

    def end(self, reason: EndReason) -> None:
        """Say that the utterance ends with what was taken in; what comes later is of the next."""
        if reason == "end":
            self.heard.add(self.resampler.convert(_NO_SAMPLES, last=True))
        self._endings.append((reason, self.heard.frames))

    def next_step(self) -> Step | None:
        """Return the next step whose audio is there, or `None`. Give its result to `read`."""
        heard = self._endings[0][1] if self._endings else self.heard.frames
        while True:
            plan = self.context.plan(heard, ended=self.is_ending)
            if plan is None:
                return None
            self._hear_voice(plan)
            if not self._skip(plan):
                break
        self.heard.measure(plan.end)
        new = self.context.featured
        samples = self.heard.normalized(new, plan.end) if new < plan.end else _NO_SAMPLES
        return Step(plan, self.language, samples)

    def _hear_voice(self, plan: Plan) -> None:
        if self.voice is not None:
            end = plan.end * self._parts.geometry.stride
            self.voice.hear(self.heard.samples(self.voice.end, max(end, self.voice.end)))

    def _skip(self, plan: Plan) -> bool:
        """Pass over a step in which there is only silence while nobody speaks."""
        rules = self.options.endpoints
        if rules is None or not rules.skip_silence or not self.endpointer.is_idle:
            return False
        if self.voice is not None:
            quiet = not self.voice.frames(plan.start, plan.end).any()
        else:
            quiet = self.heard.is_quiet(plan.start, plan.end, rules.quiet_db)
        if not quiet:
            return False
        self._begin_at(plan.kept if plan.kept > plan.start else plan.end)
        return True

    def _begin_at(self, frame: int) -> None:
        """Begin anew at a frame; what lies before is neither heard nor measured any more."""
        self.heard.pass_over(frame)
        self.context.reset(frame)
        self.spoken.begin(frame)
        self.heard.forget(frame)

    def row(self, step: Step, features: Float32Array) -> EncoderRow:
        """Return what the encoder runs on; `features` are those of the step's samples."""
        return self.context.row(step.plan, features)

    def read(self, step: Step, encoded: Encoded) -> list[Event]:
        """Take the encoder's logits and return what they tell.

        Raises:
            ValueError: the logits hold NaN or +inf.
        """
        reading = self.context.read(step.plan, encoded)
        # Not before: a step that the device failed in is asked for again.
        self.heard.forget(step.plan.kept)
        events: list[Event] = []
        kept = reading.kept
        while len(kept):
            cut = self.endpointer.find(self._speech(kept))
            count = len(kept) if cut is None else cut.frames
            self.spoken.hear(kept[:count])
            kept = kept[count:]
            if cut is not None:
                events += self._finish(cut.reason)
        if not self.is_ending:
            events += self._partial(reading.tail)
        return events

    def _speech(self, logits: Float32Array) -> npt.NDArray[np.bool_]:
        """Return which of the next frames of the utterance, `[N, V]`, are speech."""
        speech = self.spoken.speech(logits)
        if self.voice is not None:
            start = self.spoken.frame + self.spoken.frames
            self.voice.forget(start)
            speech &= self.voice.frames(start, start + len(logits))
        return speech

    def release(self) -> None:
        """Give back what the stream holds on a device; it cannot go on."""
        self.context.release()

    def close(self) -> list[Event]:
        """End the utterance where `end` said so; every step must have been read."""
        if not self._endings:
            raise RuntimeError("a stream's utterance is closed after `end`")
        reason, frame = self._endings.popleft()
        events = self._finish(reason)
        self._begin_at(frame)
        return events

    def _partial(self, tail: Float32Array) -> list[Event]:
        ahead = tail if self.options.tentative else tail[:0]
        reading = self.spoken.reading(ahead)
        if (reading.text, reading.stable_chars) == (self._shown.text, self._shown.stable_chars):
            return []
        self._shown = reading
        return [
            Partial(
                reading.text,
                reading.words,
                reading.stable_chars,
                self.audio_seconds,
                self._parts.clock(),
            )
        ]

    def _finish(self, reason: EndReason | None) -> list[Event]:
        audio, now = self.audio_seconds, self._parts.clock()
        start = self.spoken.frame * self._frame_seconds
        end = self.spoken.frame + self.spoken.frames
        transcript = self.spoken.finish(self._parts.nbest)
        events: list[Event] = []
        if transcript.text:
            events.append(Final(transcript, round(start, 3), audio, now))
        if reason is not None or transcript.text:
            at = round(end * self._frame_seconds, 3)
            events.append(Endpoint(reason or "silence", at, audio, now))
        self.spoken.begin(end)
        self.endpointer.start()
        self._shown = TextSoFar("", (), 0)
        return events
