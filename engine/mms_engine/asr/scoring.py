"""Word and character error rates of transcripts against references. Needs the extra `[score]`."""

import importlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType

from mms_engine.errors import MmsError

_CURLY_APOSTROPHE = "\u2019"
_KEPT_MARKS = frozenset("'-")


@dataclass(frozen=True, slots=True)
class Scored:
    """A transcript and its reference."""

    file: str
    language: str
    reference: str
    hypothesis: str
    held_out: bool = False
    """Whether the file was held out of the model's training, according to the list."""


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Error rates of a group of transcripts."""

    language: str
    """Code; `all` for the total, `held out` for the files held out of training."""
    files: int
    words: int
    """Words in the references."""
    wer: float
    """Word edits per reference word."""
    cer: float
    """Character edits, spaces included, per reference character."""


@dataclass(frozen=True, slots=True)
class Score:
    """Error rates of a list of transcripts."""

    languages: tuple[ErrorRate, ...]
    """Sorted by code."""
    total: ErrorRate
    held_out: ErrorRate | None
    """Files held out of training; `None` if the list marks none."""
    files: tuple[Scored, ...]


def load_jiwer() -> ModuleType:
    """Return the module that aligns transcripts with references.

    Raises:
        MmsError: it is not installed.
    """
    try:
        return importlib.import_module("jiwer")
    except ImportError as error:
        raise MmsError(
            "scoring needs the package jiwer: pip install 'mms-engine[score]'"
        ) from error


def score(files: Sequence[Scored]) -> Score:
    """Return the error rates of transcripts, normalised by `normalize_for_scoring`.

    Raises:
        MmsError: jiwer is not installed.
    """
    codes = sorted({file.language for file in files})
    rates = tuple(_rate(code, [f for f in files if f.language == code]) for code in codes)
    held_out = [file for file in files if file.held_out]
    return Score(
        rates,
        _rate("all", files),
        _rate("held out", held_out) if held_out else None,
        tuple(files),
    )


def normalize_for_scoring(text: str) -> str:
    """Return text in lower case, composed (NFC), single-spaced, without punctuation.

    Apostrophes and hyphens are kept, as MMS writes them.
    """
    composed = unicodedata.normalize("NFC", text).lower().replace(_CURLY_APOSTROPHE, "'")
    return " ".join("".join(_kept(composed)).split())


def _kept(text: str) -> Iterable[str]:
    for character in text:
        is_mark = unicodedata.category(character)[0] in "PS"
        yield " " if is_mark and character not in _KEPT_MARKS else character


def _rate(language: str, files: Sequence[Scored]) -> ErrorRate:
    jiwer = load_jiwer()
    references = [normalize_for_scoring(file.reference) for file in files]
    hypotheses = [normalize_for_scoring(file.hypothesis) for file in files]
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    count = sum(len(sentence.split()) for sentence in references)
    return ErrorRate(language, len(files), count, float(words.wer), float(characters.cer))
