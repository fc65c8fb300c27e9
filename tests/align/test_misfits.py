"""Texts that do not fit: what is wrong is found and listed, what is right stays trusted.

Each misfit is made of the demo's clips in each of the five languages, so its truth is known. Bounds
hold over all languages: the clips of one have some twenty words.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from align_speech import RATE, Joined, Speech, insert, join, music
from mms_engine.align.aligner import Aligner
from mms_engine.align.options import AlignerOptions
from mms_engine.types import Alignment

OTHER = {
    "eng": "the complete works of a forgotten author\nfirst printed in the year of the great storm",
    "spa": "las obras completas de un autor olvidado\nimpresas en el año de la gran tormenta",
    "fra": "les oeuvres complètes d'un auteur oublié\nimprimées l'année de la grande tempête",
    "ita": "le opere complete di un autore dimenticato\nstampate nell'anno della grande tempesta",
    "rus": "полное собрание сочинений забытого автора\nвпервые издано в год великой бури",  # noqa: RUF001
}
WRONG = {
    "eng": ["banana", "winter", "copper", "giraffe", "yellow", "silk"],
    "spa": ["manzana", "invierno", "cobre", "jirafa", "amarillo", "seda"],
    "fra": ["banane", "chaleur", "cuivre", "girafe", "jaune", "oiseau"],
    "ita": ["banana", "inverno", "bronzo", "giraffa", "giallo", "seta"],
    "rus": ["груша", "зима", "бронза", "жираф", "желтый", "шелк"],
}


@dataclass
class Tally:
    """Counts over languages."""

    good: list[bool] = field(default_factory=list)
    """Whether each word that is spoken in its place is untrusted."""
    wrong: list[bool] = field(default_factory=list)
    """Whether each other word lies in a region."""
    seconds: float = 0.0
    covered: float = 0.0
    """Of `seconds` of audio that the text lacks, those in regions."""

    def count(
        self,
        found: Alignment,
        is_wrong: Callable[[int], bool],
        audio: Iterable[tuple[float, float]] = (),
    ) -> None:
        """Count the words, of which `is_wrong` tells by index, and spans without text."""
        listed = {i for r in found.regions for i in range(r.first_word, r.last_word)}
        for i, word in enumerate(found.words):
            if is_wrong(i):
                self.wrong.append(i in listed and not word.trusted)
            else:
                self.good.append(not word.trusted)
        for start, end in audio:
            times = np.arange(start, end, 0.01)
            inside = [(times >= r.start) & (times < r.end) for r in found.regions]
            self.covered += 0.01 * np.count_nonzero(np.any(inside, axis=0)) if inside else 0.0
            self.seconds += end - start

    def check(self) -> None:
        assert np.mean(self.good) <= 0.05, np.mean(self.good)
        assert not self.wrong or np.mean(self.wrong) >= 0.9, np.mean(self.wrong)
        assert self.covered >= 0.9 * self.seconds, (self.covered, self.seconds)


@dataclass
class Reading:
    """The clips of one language, joined."""

    language: str
    clips: list[Speech]
    joined: Joined

    @property
    def lines(self) -> list[str]:
        return [clip.text for clip in self.clips]

    def words_of(self, *lines: int) -> Callable[[int], bool]:
        """Return whether a word is in one of some lines of its text; see `align`."""
        return lambda word: self.found.words[word].line in lines

    def align(
        self, aligner: Aligner, lines: list[str], samples: np.ndarray | None = None
    ) -> Alignment:
        audio = self.joined.samples if samples is None else samples
        self.found = aligner.align(audio, "\n".join(lines), self.language)
        return self.found


@pytest.fixture(scope="module")
def readings(speech: dict[str, list[Speech]]) -> list[Reading]:
    return [Reading(code, clips, join(clips, seed=3)) for code, clips in speech.items()]


def test_text_that_fits_has_no_regions_but_doubtful_words(
    aligner: Aligner, readings: list[Reading]
) -> None:
    tally = Tally()
    for one in readings:
        found = one.align(aligner, one.lines)
        tally.count(found, lambda _: False)
        assert {region.kind for region in found.regions} <= {"untrusted"}
        assert all(region.last_word - region.first_word == 1 for region in found.regions)
    tally.check()


def test_missing_paragraph(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        found = one.align(aligner, [*one.lines[:1], *one.lines[2:]])
        tally.count(found, lambda _: False, [speech_span(one, 1)])
        assert "missing" in {region.kind for region in found.regions}
    tally.check()


def speech_span(one: Reading, clip: int) -> tuple[float, float]:
    """Span of a clip without the quarter of a second of silence at each end of most clips."""
    start, end = one.joined.spans[clip]
    return start + 0.1, end - 0.25


def test_extra_paragraph(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        other = OTHER[one.language].split("\n")
        found = one.align(aligner, [one.lines[0], *other, *one.lines[1:]])
        tally.count(found, one.words_of(1, 2))
        assert "extra" in {region.kind for region in found.regions}
    tally.check()


def test_front_matter(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        found = one.align(aligner, [*OTHER[one.language].split("\n"), "", *one.lines])
        tally.count(found, one.words_of(0, 1))
        assert found.lines[2].text == ""
        assert found.lines[2].start == found.lines[2].end
    tally.check()


def test_swapped_lines(aligner: Aligner, readings: list[Reading]) -> None:
    for one in readings:
        lines = [one.lines[1], one.lines[0], *one.lines[2:]]
        found = one.align(aligner, lines)
        (region,) = (region for region in found.regions if region.kind == "swapped")
        line = found.words[region.first_word].line
        assert line in (0, 1)
        assert region.last_word - region.first_word >= len(lines[line].split()) - 1
        start, end = one.joined.spans[1 - line]
        assert start - 0.3 <= region.start
        assert region.end <= end + 0.3
        assert region.end - region.start >= 0.6 * (end - start)
        kept = [word.trusted for word in found.words if word.line != line]
        assert np.mean(kept) >= 0.85


def test_line_spoken_twice(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        start, end = one.joined.spans[1]
        again = np.concatenate([np.zeros(RATE // 2, np.float32), one.clips[1].samples])
        found = one.align(aligner, one.lines, insert(one.joined.samples, end, again))
        (region,) = (region for region in found.regions if region.kind == "repeated")
        # Either reading may be the one too many.
        readings_at = [(start, end), (end + 0.5, end + 0.5 + end - start)]
        nearest = min(readings_at, key=lambda span: abs(span[0] - region.start))
        tally.count(found, lambda _: False, [(nearest[0] + 0.1, nearest[1] - 0.25)])
        assert one.lines[1].split()[2] in region.text
    tally.check()


def test_line_written_twice(aligner: Aligner, readings: list[Reading]) -> None:
    for one in readings:
        found = one.align(aligner, [*one.lines[:2], *one.lines[1:]])
        repeated = [region for region in found.regions if region.kind == "repeated"]
        assert sum(r.last_word - r.first_word for r in repeated) == pytest.approx(
            len(one.lines[1].split()), abs=1
        )
        spoken = [word.trusted for word in found.words if word.line in (1, 2)]
        assert np.mean(spoken) >= 0.4


def test_text_ten_times_too_long(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        size = len(one.lines)
        other = OTHER[one.language].split("\n") * 14
        found = one.align(aligner, one.lines + other)
        tally.count(found, one.words_of(*range(size, size + 28)))
        failed = [line for line in found.lines if line.error]
        assert len(failed) >= 27
        assert all("needs at least" in line.error for line in failed)
    tally.check()


def test_one_word_for_the_whole_audio(aligner: Aligner, readings: list[Reading]) -> None:
    for one in readings:
        whole = one.align(aligner, one.lines)
        word = max(
            (word for word in whole.words if one.lines[word.line].split().count(word.text) == 1),
            key=lambda word: len(word.text),
        )
        found = one.align(aligner, [word.text])
        assert found.words[0].trusted
        assert found.words[0].start == pytest.approx(word.start, abs=0.06)
        assert found.words[0].end == pytest.approx(word.end, abs=0.06)
        assert {region.kind for region in found.regions} == {"missing"}


def test_wrong_words(aligner: Aligner, readings: list[Reading]) -> None:
    """One word in ten is another."""
    tally = Tally()
    for one in readings:
        words = [line.split() for line in one.lines]
        places = [(i, k) for i, line in enumerate(words) for k in range(len(line))]
        chosen = places[4::10]
        for number, (i, k) in enumerate(chosen):
            words[i][k] = WRONG[one.language][number]
        found = one.align(aligner, [" ".join(line) for line in words])
        tally.count(found, {places.index(place) for place in chosen}.__contains__)
    tally.check()


def test_minute_of_music(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        at = one.joined.spans[0][1] + 0.1
        found = one.align(aligner, one.lines, insert(one.joined.samples, at, music(60.0)))
        tally.count(found, lambda _: False, [(at, at + 60)])
        longest = max(word.end - word.start for word in found.words)
        assert longest < 3
    tally.check()


def test_minute_of_silence_stretches_no_word(aligner: Aligner, readings: list[Reading]) -> None:
    tally = Tally()
    for one in readings:
        at = one.joined.spans[0][1] + 0.1
        silence = np.zeros(60 * RATE, np.float32)
        found = one.align(aligner, one.lines, insert(one.joined.samples, at, silence))
        tally.count(found, lambda _: False)
        assert max(word.end - word.start for word in found.words) < 3
        assert all(word.end < at + 0.1 or word.start > at + 60 for word in found.words)
    tally.check()


def test_other_script_and_numbers(demo_bundle: Path, readings: list[Reading]) -> None:
    """Words that the vocabulary cannot spell are kept, and take nothing from the others."""
    tally = Tally()
    aligner = Aligner.open(demo_bundle, threads=2, options=AlignerOptions(numbers="star"))
    for one in readings:
        whole = one.align(aligner, one.lines)
        lines = [f"{line} 你好 (7)" for line in one.lines]
        found = one.align(aligner, lines)
        own = [word for word in found.words if word.aligned]
        assert [word.text for word in own] == [word.text for word in whole.words]
        for word, expected in zip(own, whole.words, strict=True):
            assert abs(word.start - expected.start) <= 0.06
        other = [i for i, word in enumerate(found.words) if not word.aligned]
        assert len(other) == 2 * len(lines)
        tally.good += [not word.trusted for word in own]
    tally.check()
