"""Recognition with identified languages: streams of one and of several languages, and clips.

    python -m examples.demo.evaluate_routing --streams 5 --clips 40

Joins held-out real recordings of the demo to streams, feeds them in pieces of 100 ms, and prints
the share of right languages, the delay of changes, the error rates beside those with the language
given, and the CPU time of identification. Needs the clips that `examples.demo.prepare` made.
"""

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import jiwer
import numpy as np
from examples.demo.prepare import CACHE, SAMPLE_RATE, Clip, read_manifest
from numpy.typing import NDArray

from mms_engine import (
    Final,
    Identifier,
    IdentifierOptions,
    LanguageChange,
    Partial,
    Recognizer,
    Router,
    RoutingOptions,
    StreamOptions,
)
from mms_engine.lid.activity import FrameLevels
from mms_engine.system import demo_bundle

Samples = NDArray[np.float32]
PIECE = SAMPLE_RATE // 10
STRIDE = 320


@dataclasses.dataclass(frozen=True)
class Section:
    """Clips of one language, one after another."""

    language: str
    samples: Samples
    text: str
    onset: float  # seconds from its start to its first speech


@dataclasses.dataclass(frozen=True)
class Spoken:
    """A stream of sections."""

    sections: list[Section]

    @property
    def samples(self) -> Samples:
        """All samples."""
        return np.concatenate([section.samples for section in self.sections])

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(section.text for section in self.sections)

    def onsets(self) -> list[float]:
        """First speech of each section, in seconds from the start of the stream."""
        starts = np.cumsum([0, *(len(section.samples) for section in self.sections)])
        pairs = zip(starts.tolist(), self.sections, strict=False)
        return [start / SAMPLE_RATE + section.onset for start, section in pairs]


class Clips:
    """Held-out clips of the demo, by language."""

    def __init__(
        self, seed: int, manifest: Path = CACHE / "real.tsv", split: str = "heldout"
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self._pcm = np.memmap(manifest.with_suffix(".pcm"), dtype=np.int16, mode="r")
        clips = [clip for clip in read_manifest(manifest) if clip.split == split]
        self.languages = sorted({clip.lang for clip in clips})
        self.by_language = {
            code: [clip for clip in clips if clip.lang == code] for code in self.languages
        }

    def audio(self, clip: Clip) -> Samples:
        """Samples of a clip at a full scale of ±1, (samples,)."""
        samples = self._pcm[clip.offset : clip.offset + clip.samples]
        return samples.astype(np.float32) / np.float32(32768)

    def section(self, language: str, seconds: float) -> Section:
        """Clips of a language with pauses of 0.2 to 0.8 s, of at least a duration."""
        parts: list[Samples] = []
        texts: list[str] = []
        while sum(map(len, parts)) < seconds * SAMPLE_RATE:
            own = self.by_language[language]
            clip = own[self.rng.integers(len(own))]
            parts += [self.audio(clip), self.pause()]
            texts.append(clip.text)
        samples = np.concatenate(parts)
        return Section(language, samples, " ".join(texts), onset(samples))

    def pause(self) -> Samples:
        """Faint noise."""
        count = int(self.rng.uniform(0.2, 0.8) * SAMPLE_RATE)
        return self.rng.normal(0, 3e-4, count).astype(np.float32)

    def one_language(self, count: int) -> Iterator[Spoken]:
        """Streams of about 30 s in one language."""
        for _ in range(count):
            for language in self.languages:
                yield Spoken([self.section(language, 30.0)])

    def changing(self, count: int) -> Iterator[Spoken]:
        """Streams of four sections of about 10 s, neighbours in different languages."""
        for _ in range(count * len(self.languages)):
            order: list[str] = []
            while len(order) < 4:
                language = self.languages[self.rng.integers(len(self.languages))]
                if not order or order[-1] != language:
                    order.append(language)
            yield Spoken([self.section(code, self.rng.uniform(6, 14)) for code in order])


def onset(samples: Samples) -> float:
    """Seconds to the first speech by level."""
    levels = FrameLevels(STRIDE, SAMPLE_RATE)
    levels.add(samples)
    speech = levels.speech()
    return float(speech.argmax()) * STRIDE / SAMPLE_RATE if speech.any() else 0.0


@dataclasses.dataclass
class Run:
    """Events of a stream, and its CPU time."""

    events: list[object]
    seconds: float  # CPU
    identification: float  # CPU, of these

    @property
    def text(self) -> str:
        """All final text."""
        return " ".join(e.transcript.text for e in self.events if isinstance(e, Final))

    @property
    def changes(self) -> list[LanguageChange]:
        """Decisions."""
        return [event for event in self.events if isinstance(event, LanguageChange)]


def run_auto(recognizer: Recognizer, router: Router, samples: Samples) -> Run:
    """Run a stream that finds its language."""
    finder = router.finder()
    spent = 0.0
    logits = finder.logits

    def timed(windows: Sequence[Samples]) -> list[Samples]:
        nonlocal spent
        begin = time.process_time()
        found = logits(windows)
        spent += time.process_time() - begin
        return found

    finder.logits = timed  # type: ignore[method-assign]
    begin = time.process_time()
    stream = recognizer.stream("auto", StreamOptions(), finder=finder)
    events: list[object] = []
    for start in range(0, len(samples), PIECE):
        events += stream.feed(samples[start : start + PIECE])
    events += stream.finish()
    return Run(events, time.process_time() - begin, spent)


def run_given(recognizer: Recognizer, language: str, samples: Samples) -> Run:
    """Run a stream in a given language."""
    begin = time.process_time()
    stream = recognizer.stream(language, StreamOptions())
    events: list[object] = []
    for start in range(0, len(samples), PIECE):
        events += stream.feed(samples[start : start + PIECE])
    events += stream.finish()
    return Run(events, time.process_time() - begin, 0.0)


def measure_streams(
    recognizer: Recognizer, router: Router, streams: Sequence[Spoken]
) -> dict[str, float]:
    """Figures of streams, of one language or several."""
    first, switched, delays, old_words, shown_words = [], [], [], [], []
    given_texts, auto_texts, references = [], [], []
    cpu_given = cpu_auto = cpu_lid = 0.0
    for spoken in streams:
        auto = run_auto(recognizer, router, spoken.samples)
        given = [run_given(recognizer, one.language, one.samples) for one in spoken.sections]
        cpu_auto, cpu_lid = cpu_auto + auto.seconds, cpu_lid + auto.identification
        cpu_given += sum(run.seconds for run in given)
        auto_texts.append(auto.text)
        given_texts.append(" ".join(run.text for run in given))
        references.append(spoken.text)
        onsets, changes = spoken.onsets(), auto.changes
        start = changes[0] if changes else None
        is_right = start is not None and start.language == spoken.sections[0].language
        first.append(is_right and start.audio_seconds - onsets[0] <= 2.0 + PIECE / SAMPLE_RATE)
        for number in range(1, len(onsets)):
            at, end = onsets[number], [*onsets, np.inf][number + 1]
            new, old = spoken.sections[number].language, spoken.sections[number - 1].language
            hits = [c for c in changes if c.language == new and at - 1 < c.audio_seconds <= end]
            delay = hits[0].audio_seconds - at if hits else np.inf
            delays.append(delay)
            switched.append(delay <= 3.0)
            old_words.append(
                sum(
                    at <= word.start < end
                    for event in auto.events
                    if isinstance(event, Final) and event.transcript.language == old
                    for word in event.transcript.words
                )
            )
            shown = [
                event
                for event in auto.events
                if isinstance(event, Partial) and at <= event.audio_seconds <= at + delay
            ]
            shown_words.append(
                max((sum(word.start >= at for word in e.words) for e in shown), default=0)
            )
    found = {
        "streams": float(len(streams)),
        "first language right within 2 s": float(np.mean(first)),
        "CER given": jiwer.cer(references, given_texts),
        "CER auto": jiwer.cer(references, auto_texts),
        "CPU of identification / of the stream without": cpu_lid / cpu_given,
        "CPU with / without identification": cpu_auto / cpu_given,
    }
    found["CER auto / given"] = found["CER auto"] / found["CER given"]
    if delays:
        found |= {
            "changes": float(len(delays)),
            "switched within 3 s": float(np.mean(switched)),
            "delay of a change, median": float(np.median(delays)),
            "words of the old language in final text, median": float(np.median(old_words)),
            "words of the old language shown, median": float(np.median(shown_words)),
        }
    return found


def hard_clips(clips: Clips, count: int) -> list[tuple[Clip, Samples]]:
    """Short clips in noise: 0.8 to 2 s of speech in white or brown noise at 0 to 8 dB."""
    found = []
    rng = clips.rng
    for code in clips.languages:
        short = [c for c in clips.by_language[code] if 0.8 <= c.samples / SAMPLE_RATE <= 2.0]
        for number in range(count if short else 0):
            clip = short[number % len(short)]
            samples = clips.audio(clip)
            noise = rng.normal(size=len(samples))
            if number % 2:
                noise = np.cumsum(noise)
                noise -= np.convolve(noise, np.ones(400) / 400, "same")
            level = samples.std() / noise.std() * 10 ** (-rng.uniform(0, 8) / 20)
            found.append((clip, (samples + level * noise).astype(np.float32)))
    return found


def measure_clips(
    recognizer: Recognizer, identifier: Identifier, clips: Sequence[tuple[Clip, Samples]]
) -> dict[str, float]:
    """Figures of clips, with and without re-ranking."""
    references = [clip.text for clip, _ in clips]
    count = len(recognizer.languages)
    figures: dict[str, float] = {"clips": float(len(clips))}
    begin = time.process_time()
    given = [recognizer.transcribe(samples, clip.lang).text for clip, samples in clips]
    one = time.process_time() - begin
    figures["CER given"] = jiwer.cer(references, given)
    for name, rerank in (("auto", 1), (f"rerank {count}", count)):
        router = Router(recognizer, identifier, RoutingOptions(rerank=rerank))
        begin = time.process_time()
        found = [router.transcribe(samples) for _, samples in clips]
        figures[f"CPU {name} / given"] = (time.process_time() - begin) / one
        right = [t.language == clip.lang for t, (clip, _) in zip(found, clips, strict=True)]
        figures[f"language right, {name}"] = float(np.mean(right))
        figures[f"CER {name}"] = jiwer.cer(references, [t.text for t in found])
    return figures


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=demo_bundle())
@click.option("--identifier", type=click.Path(path_type=Path), default=demo_bundle("demo-lid"))
@click.option("--streams", type=int, default=4, help="Streams of each kind and language.")
@click.option("--clips", type=int, default=40, help="Short noisy clips of each language.")
@click.option("--seed", type=int, default=0)
def main(bundle: Path, identifier: Path, streams: int, clips: int, seed: int) -> None:
    """Measure streams and clips whose language is identified."""
    options = IdentifierOptions(threads=1)
    with (
        Recognizer.open(bundle, threads=1) as recognizer,
        Identifier.open(identifier, options=options) as opened,
    ):
        router = Router(recognizer, opened)
        held_out = Clips(seed)
        result = {
            "one language": measure_streams(
                recognizer, router, list(held_out.one_language(streams))
            ),
            "changing": measure_streams(recognizer, router, list(held_out.changing(streams))),
            "short noisy clips": measure_clips(recognizer, opened, hard_clips(held_out, clips)),
        }
    rounded = {
        part: {name: round(value, 4) for name, value in figures.items()}
        for part, figures in result.items()
    }
    click.echo(json.dumps(rounded, indent=2))


if __name__ == "__main__":
    main()
