"""Word and character error rates of transcripts against references. Needs the extra `[score]`."""

import functools
import importlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from mms_engine.errors import MmsError
from mms_engine.languages import all_languages

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
class Edits:
    """Numbers of edits that turn references into transcripts."""

    substitutions: int
    deletions: int
    insertions: int

    @property
    def total(self) -> int:
        """Sum of the edits."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Error rates of a group of transcripts."""

    language: str
    """Code, or `all`, `held out`, `no reference` for the groups of `Score`."""
    files: int
    words: int
    """Words in the references."""
    characters: int
    """Characters in the references, spaces included."""
    word_edits: Edits
    character_edits: Edits
    wer: float | None
    """Word edits per reference word; `None` if there are no reference words."""
    cer: float | None
    """Character edits, spaces included, per reference character; `None` if there are none."""


@dataclass(frozen=True, slots=True)
class AlignedText:
    """A part of a reference, and the part of the transcript that is aligned with it."""

    kind: Literal["equal", "substitute", "delete", "insert"]
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Differences:
    """Alignment of a transcript with its reference, both normalised by `normalize_for_scoring`."""

    unit: Literal["word", "character"]
    """Unit of the edits: `character`, without spaces, for languages that separate no words."""
    edits: Edits
    alignment: tuple[AlignedText, ...]
    """In order; parts of several units are joined as the language writes them."""


@dataclass(frozen=True, slots=True)
class Score:
    """Error rates of a list of transcripts."""

    languages: tuple[ErrorRate, ...]
    """Sorted by code."""
    total: ErrorRate
    held_out: ErrorRate | None
    """Files held out of training; `None` if the list marks none."""
    no_reference: ErrorRate | None
    """Files whose reference has no words, so that every word is an insertion; `None` for none. They
    count in the other rates too."""
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
    empty = [file for file in files if not normalize_for_scoring(file.reference)]
    return Score(
        languages=rates,
        total=_rate("all", files),
        held_out=_rate("held out", held_out) if held_out else None,
        no_reference=_rate("no reference", empty) if empty else None,
        files=tuple(files),
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


def differences(file: Scored) -> Differences:
    """Return the alignment of a transcript with its reference, with the fewest edits.

    Raises:
        MmsError: jiwer is not installed.
    """
    jiwer = load_jiwer()
    by_character = file.language in _codes_by_character()
    texts = [normalize_for_scoring(text) for text in (file.reference, file.hypothesis)]
    if by_character:
        found = jiwer.process_characters(*("".join(text.split()) for text in texts))
    else:
        found = jiwer.process_words(*texts)
    space = "" if by_character else " "
    (reference,), (hypothesis,), (chunks,) = found.references, found.hypotheses, found.alignments
    alignment = tuple(
        AlignedText(
            chunk.type,
            space.join(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
            space.join(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in chunks
    )
    return Differences("character" if by_character else "word", _edits(found), alignment)


@functools.cache
def _codes_by_character() -> frozenset[str]:
    return frozenset(language.code for language in all_languages() if language.by_character)


def _rate(language: str, files: Sequence[Scored]) -> ErrorRate:
    jiwer = load_jiwer()
    references = [normalize_for_scoring(file.reference) for file in files]
    hypotheses = [normalize_for_scoring(file.hypothesis) for file in files]
    word_edits = _edits(jiwer.process_words(references, hypotheses))
    character_edits = _edits(jiwer.process_characters(references, hypotheses))
    words = sum(len(sentence.split()) for sentence in references)
    characters = sum(map(len, references))
    return ErrorRate(
        language=language,
        files=len(files),
        words=words,
        characters=characters,
        word_edits=word_edits,
        character_edits=character_edits,
        wer=word_edits.total / words if words else None,
        cer=character_edits.total / characters if characters else None,
    )


def _edits(found: Any) -> Edits:  # noqa: ANN401
    return Edits(found.substitutions, found.deletions, found.insertions)
