"""Sentences of a text as one stream of samples, with pauses, warnings and times of words."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from mms_engine.audio.stretch import TimeStretch
from mms_engine.bundle.voices import Voice
from mms_engine.errors import TextError
from mms_engine.text.reading import Reader
from mms_engine.text.sentences import Sentence
from mms_engine.tts.options import SpeechOptions
from mms_engine.tts.pauses import Pauses
from mms_engine.tts.synthesis import Plan, Synthesis
from mms_engine.types import Audio, Dropped, Float32Array, Spoken, SpokenWord

_NAMED = 8
"""Dropped characters that a warning or an error names."""
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
        """Samples so far."""
        self._pauses = Pauses(self._rate)

    def run(self, sentences: Iterator[Sentence], *, streams: bool) -> Iterator[Audio]:
        """Yield the chunks of sentences, small ones first if somebody waits for the first.

        Raises:
            TextError: nothing can be spoken.
        """
        ahead = _Ahead(sentences, self._planned)
        with contextlib.closing(ahead):
            yield from self._run(ahead, streams=streams)

    def _run(self, ahead: "_Ahead", *, streams: bool) -> Iterator[Audio]:
        unspoken: list[Dropped] = []
        while (item := ahead.take()) is not None:
            sentence, plan, dropped = item
            if plan is not None:
                yield from self._sentence(plan, ahead, streams=streams)
                continue
            if sentence.text:
                unspoken += dropped[: _NAMED - len(unspoken)]
                self._on_sentence(self._described(sentence, dropped, None))
            else:
                self._pauses.rest(sentence.pause)
        if not self._pauses.has_spoken:
            raise TextError(f"nothing to speak with the voice {self._code}{_reason(unspoken)}")
        yield from map(self._audio, self._pauses.finish())

    def _planned(self, sentence: Sentence) -> _Planned:
        """Return a sentence with its plan, if anything of it can be spoken."""
        if not sentence.text:
            return sentence, None, ()
        read = self._reader.read(sentence)
        if not read.tokens.letters:
            return sentence, None, read.tokens.dropped
        plan = self._synthesis.plan(read, self._voice, self._code, self._options)
        return sentence, plan, read.tokens.dropped

    def _sentence(self, plan: Plan, ahead: "_Ahead", *, streams: bool) -> Iterator[Audio]:
        sentence = plan.read.sentence
        self._pauses.begin()
        self._on_sentence(self._described(sentence, plan.read.tokens.dropped, plan))
        stretch = TimeStretch(plan.tempo, self._rate) if plan.tempo != 1 else None
        for samples in self._synthesis.chunks(plan, self._code, streams=streams):
            ready = samples if stretch is None else stretch.push(samples)
            if ready.size:
                yield from self._joined(ready)
            ahead.prepare()
        if stretch is not None:
            yield from self._joined(stretch.finish())
        self._pauses.end(sentence.pause * self._options.pause_scale / self._options.speed)

    def _joined(self, samples: Float32Array) -> Iterator[Audio]:
        """Yield the pause that is due, and samples."""
        return map(self._audio, self._pauses.join(samples))

    def _audio(self, samples: Float32Array) -> Audio:
        self._samples += samples.size
        return Audio(samples, self._rate)

    def _described(
        self, sentence: Sentence, dropped: tuple[Dropped, ...], plan: Plan | None
    ) -> Spoken:
        """Return what is known of a sentence before its audio."""
        start = (self._samples + self._pauses.due) / self._rate
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


class _Ahead:
    """Planned sentences of a text, the next of which can be planned in a thread."""

    def __init__(self, sentences: Iterator[Sentence], plan: Callable[[Sentence], _Planned]) -> None:
        self._sentences = sentences
        self._plan = plan
        self._thread: threading.Thread | None = None
        self._result: list[_Planned] = []
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._is_closed = self._is_planning = False

    def prepare(self) -> None:
        """Start with the next sentence, unless it was started."""
        if self._thread is None:
            # A daemon: the text may come from standard input, where nothing may come.
            self._thread = threading.Thread(target=self._compute, daemon=True)
            self._thread.start()

    def _compute(self) -> None:
        try:
            for sentence in self._sentences:
                with self._lock:
                    self._is_planning = not self._is_closed
                if self._is_planning:
                    self._result = [self._plan(sentence)]
                break
        except BaseException as error:  # noqa: BLE001 (raised again by `take`)
            self._error = error

    def take(self) -> _Planned | None:
        """Return the next sentence; `None` at the end."""
        if self._thread is None:
            self._compute()
        else:
            self._thread.join()
            self._thread = None
        self._is_planning = False
        if self._error is not None:
            raise self._error
        return self._result.pop() if self._result else None

    def close(self) -> None:
        """Wait for the plan, but not for a sentence: the process may end afterwards."""
        with self._lock:
            self._is_closed = True
        if self._thread is not None and self._is_planning:
            self._thread.join()
