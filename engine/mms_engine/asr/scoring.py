"""Word and character error rates of transcripts against references."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer

_CURLY_APOSTROPHE = "\u2019"
_KEPT_MARKS = frozenset("'-")


@dataclass(frozen=True, slots=True)
class Scored:
    """One transcript beside its reference."""

    file: str
    language: str
    reference: str
    hypothesis: str
    held_out: bool = False
    """Whether it was kept out of the training of the model, where the list says so."""


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How far a group of transcripts is from its references."""

    language: str
    """`all` for the total, `held out` for the files kept out of training."""
    files: int
    words: int
    """In the references."""
    wer: float
    """Word edits per word of the references."""
    cer: float
    """Character edits, spaces included, per character of the references."""


@dataclass(frozen=True, slots=True)
class Score:
    """The result of a whole list."""

    languages: tuple[ErrorRate, ...]
    """Sorted by code."""
    total: ErrorRate
    held_out: ErrorRate | None
    """Of the files kept out of training, where the list says which these are."""
    files: tuple[Scored, ...]


def score(files: Sequence[Scored]) -> Score:
    """Compare transcripts with references, both normalised by `normalize_for_scoring`."""
    codes = sorted({file.language for file in files})
    rates = tuple(_rate(code, [f for f in files if f.language == code]) for code in codes)
    unheard = [file for file in files if file.held_out]
    held_out = _rate("held out", unheard) if unheard else None
    return Score(rates, _rate("all", files), held_out, tuple(files))


def normalize_for_scoring(text: str) -> str:
    """Return text in lower case, composed (NFC), single-spaced, without punctuation.

    Apostrophes and hyphens stay: MMS writes them.
    """
    composed = unicodedata.normalize("NFC", text).lower().replace(_CURLY_APOSTROPHE, "'")
    return " ".join("".join(_kept(composed)).split())


def _kept(text: str) -> Iterable[str]:
    for character in text:
        is_mark = unicodedata.category(character)[0] in "PS"
        yield " " if is_mark and character not in _KEPT_MARKS else character


def _rate(language: str, files: Sequence[Scored]) -> ErrorRate:
    references = [normalize_for_scoring(file.reference) for file in files]
    hypotheses = [normalize_for_scoring(file.hypothesis) for file in files]
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    spoken = sum(len(sentence.split()) for sentence in references)
    return ErrorRate(language, len(files), spoken, float(words.wer), float(characters.cer))
