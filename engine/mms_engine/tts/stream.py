"""Sentences of a text as one stream of samples, with pauses, warnings and times of words."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from mms_engine.audio.stretch import TimeStretch
from mms_engine.bundle.voices import Voice
from mms_engine.errors import TextError
from mms_engine.text.reading import Reader
from mms_engine.text.sentences import Sentence
from mms_engine.tts.options import SpeechOptions
from mms_engine.tts.synthesis import Plan, Synthesis
from mms_engine.types import Audio, Dropped, Float32Array, Spoken, SpokenWord

_FADE_SECONDS = 0.005
"""Time in which a pause falls from the last sample, and rises to the next one."""
_NAMED = 8
"""Dropped characters that a warning or an error names."""
_Item = TypeVar("_Item")
_Planned = tuple[Sentence, Plan | None, tuple[Dropped, ...]]
"""A sentence, its plan if anything of it can be spoken, and what of it cannot."""


class SpeechStream:
    """Audio of a text; an iterator of chunks.

    While one sentence is decoded, the next is planned in a thread, but not before the first chunk
    of the first has been made.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        voice: Voice,
        code: str,
        reader: Reader,
        options: SpeechOptions,
        on_sentence: Callable[[Spoken], object] | None,
    ) -> None:
        """Take what all sentences share; see `Synthesizer.speak`."""
        self._synthesis = synthesis
        self._voice = voice
        self._code = code
        self._reader = reader
        self._options = options
        self._on_sentence = on_sentence or (lambda _: None)
        self._rate = voice.sampling_rate
        self._samples = 0
        """Samples so far, with the pause that is due."""
        self._pause = 0
        """Samples of silence that are due before the next sentence."""
        self._last = 0.0
        """Last sample that was made."""
        self._explicit = False
        """Whether the text asks for that silence: then it is kept at the end too."""
        self._spoken = False

    def run(self, sentences: Iterator[Sentence]) -> Iterator[Audio]:
        """Yield the chunks of sentences.

        Raises:
            TextError: nothing can be spoken.
        """
        ahead = _Ahead(self._planned(sentence) for sentence in sentences)
        unspoken: list[Dropped] = []
        while (item := ahead.take()) is not None:
            sentence, plan, dropped = item
            if plan is not None:
                yield from self._sentence(plan, ahead)
                continue
            if sentence.text:
                unspoken += dropped[: _NAMED - len(unspoken)]
                self._on_sentence(self._described(sentence, dropped, None))
            else:
                self._rest(sentence.pause)
        if not self._spoken:
            raise TextError(f"nothing to speak with the voice {self._code}{_reason(unspoken)}")
        if self._pause and self._explicit:
            yield self._audio(self._silence(None))

    def _planned(self, sentence: Sentence) -> _Planned:
        """Return a sentence with its plan, if anything of it can be spoken."""
        if not sentence.text:
            return sentence, None, ()
        read = self._reader.read(sentence)
        if not read.tokens.letters:
            return sentence, None, read.tokens.dropped
        plan = self._synthesis.plan(read, self._voice, self._code, self._options)
        return sentence, plan, read.tokens.dropped

    def _sentence(self, plan: Plan, ahead: "_Ahead[_Planned]") -> Iterator[Audio]:
        sentence = plan.read.sentence
        if self._spoken and not self._pause:
            self._rest(2 * _FADE_SECONDS)
        self._on_sentence(self._described(sentence, plan.read.tokens.dropped, plan))
        stretch = TimeStretch(plan.tempo, self._rate) if plan.tempo != 1 else None
        for samples in self._synthesis.chunks(plan, self._code):
            ready = samples if stretch is None else stretch.push(samples)
            if ready.size:
                yield self._joined(ready)
            ahead.prepare()
        if stretch is not None:
            yield self._joined(stretch.finish())
        seconds = sentence.pause * self._options.pause_scale / self._options.speed
        self._pause = round(seconds * self._rate)
        self._explicit = False

    def _rest(self, seconds: float) -> None:
        self._pause += round(seconds * self._rate)
        self._explicit = True

    def _joined(self, samples: Float32Array) -> Audio:
        """Return samples, with the pause that is due before them."""
        if self._pause:
            samples = np.concatenate([self._silence(float(samples[0])), samples])
        self._spoken = True
        return self._audio(samples)

    def _audio(self, samples: Float32Array) -> Audio:
        self._samples += samples.size
        if samples.size:
            self._last = float(samples[-1])
        return Audio(samples, self._rate)

    def _silence(self, following: float | None) -> Float32Array:
        """Return the pause that is due: from the last sample to silence to the next, smoothly."""
        silence = np.zeros(self._pause, np.float32)
        fade = min(round(_FADE_SECONDS * self._rate), self._pause // 2)
        if fade:
            ramp = 0.5 * (1 + np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1)))
            silence[:fade] = self._last * ramp
            if following is not None:
                silence[-fade:] = following * ramp[::-1]
        self._pause = 0
        return silence

    def _described(
        self, sentence: Sentence, dropped: tuple[Dropped, ...], plan: Plan | None
    ) -> Spoken:
        """Return what is known of a sentence before its audio."""
        start = (self._samples + self._pause) / self._rate
        spoken = Spoken(sentence.text, sentence.start, start, start, (), dropped)
        lost = [one for one in dropped if one.is_loss]
        if lost:
            line = f"the voice {self._code} cannot speak {_named(lost)}"
            spoken = replace(spoken, warnings=(line,))
        if plan is None:
            return spoken
        seconds = self._synthesis.frame_samples / self._rate / plan.tempo
        words = tuple(
            SpokenWord(
                word.text,
                start + float(plan.bounds[word.first, 0]) * seconds,
                start + float(plan.bounds[word.last - 1, 1]) * seconds,
            )
            for word in plan.read.words
        )
        return replace(spoken, end=start + (plan.end - plan.begin) * seconds, words=words)


def _named(dropped: list[Dropped]) -> str:
    """Return characters with their places, and their look-alikes, as a list in words."""
    parts = []
    for one in dropped[:_NAMED]:
        code = f" (U+{ord(one.text):04X})" if len(one.text) == 1 else ""
        part = f"{one.text!r}{code} at character {one.start}"
        if one.look_alikes:
            similar = one.look_alikes[0]
            part += f", which looks like its {similar!r} (U+{ord(similar):04X})"
        parts.append(part)
    if len(dropped) > _NAMED:
        parts.append(f"and {len(dropped) - _NAMED} more")
    return "; ".join(parts)


def _reason(dropped: list[Dropped]) -> str:
    return f": it has no {_named(dropped)}" if dropped else ": the text has no letters"


class _Ahead(Generic[_Item]):
    """Items of an iterator, the next of which can be computed in a thread."""

    def __init__(self, items: Iterator[_Item]) -> None:
        self._items = items
        self._thread: threading.Thread | None = None
        self._result: list[_Item] = []
        self._error: BaseException | None = None

    def prepare(self) -> None:
        """Start computing the next item, unless it was started."""
        if self._thread is None:
            # A daemon: the text may come from standard input, where nothing may come.
            self._thread = threading.Thread(target=self._compute, daemon=True)
            self._thread.start()

    def _compute(self) -> None:
        try:
            self._result = [next(self._items)]
        except StopIteration:
            self._result = []
        except BaseException as error:  # noqa: BLE001 (raised again by `take`)
            self._error = error

    def take(self) -> _Item | None:
        """Return the next item; `None` at the end."""
        if self._thread is None:
            return next(self._items, None)
        self._thread.join()
        self._thread = None
        if self._error is not None:
            raise self._error
        return self._result.pop() if self._result else None
