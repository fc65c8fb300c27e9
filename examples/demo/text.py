"""Sentences of the demo checkpoint: normalisation, alphabets, and the held-out split."""

import hashlib
import re
import unicodedata
from pathlib import Path

LANGUAGES = ("eng", "spa", "fra", "ita", "rus")

ALPHABETS: dict[str, frozenset[str]] = {
    "eng": frozenset("abcdefghijklmnopqrstuvwxyz'"),
    "spa": frozenset("abcdefghijklmnopqrstuvwxyzáéíóúüñ"),
    "fra": frozenset("abcdefghijklmnopqrstuvwxyzàâæçéèêëîïôœùûüÿ'"),
    "ita": frozenset("abcdefghijklmnopqrstuvwxyzàèéìíòóùú'"),
    "rus": frozenset("абвгдежзийклмнопрстуфхцчшщъыьэюя"),
}

DIGITS = {
    "eng": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "spa": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "fra": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "ita": ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
    "rus": ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"),
}

HELD_OUT_PERCENT = 10

# Stage directions, digits and symbols are read aloud in ways the transcript does not spell.
_UNSPOKEN = re.compile(r"[\[\](){}<>0-9@#*$%&+=/\\_|]")
_APOSTROPHES = str.maketrans("\u2019\u2018`\u00b4\u02bc", "'" * 5)
_YO, _YE = "\u0451", "\u0435"  # Russian is typed with and without the dots
_SPACE = re.compile(r"\s+")

# The Spanish transcripts are mostly typed without accents: endings and words to repair.
_SPANISH_REPAIRS = (
    (re.compile(r"\b(\w*[cs])ion\b"), r"\1ión"),
    (re.compile(r"\b(\w+)esimo\b"), r"\1ésimo"),
)
_SPANISH_WORDS = dict(
    line.split("\t")
    for line in (Path(__file__).parent / "templates/spanish_words.tsv")
    .read_text(encoding="utf-8")
    .splitlines()
)


def normalise(text: str, language: str) -> str | None:
    """Return lower-case letters, apostrophes and single spaces, or None where `text` is not usable.

    Not usable: it holds digits, brackets or symbols, letters outside the language's alphabet,
    or is a single letter (a spelled letter is a name, not a word).
    """
    if _UNSPOKEN.search(text):
        return None
    text = unicodedata.normalize("NFC", text.translate(_APOSTROPHES)).lower().replace(_YO, _YE)
    words = [_clean_word(word) for word in _SPACE.split(_letters_only(text))]
    if language == "spa":
        words = " ".join(_repair_spanish(word) for word in words).split()
    cleaned = " ".join(word for word in words if word)
    if len(cleaned) < 2 or set(cleaned) - ALPHABETS[language] - {" "}:
        return None
    return cleaned


def is_held_out(sentence: str) -> bool:
    """Whether a normalised sentence is never trained on, in any voice (10 % by hash)."""
    digest = hashlib.sha256(sentence.encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < HELD_OUT_PERCENT


def _letters_only(text: str) -> str:
    """Everything that is neither letter nor apostrophe becomes a space."""
    return "".join(c if c == "'" or unicodedata.category(c)[0] == "L" else " " for c in text)


def _clean_word(word: str) -> str:
    """Drop an opening quote and a closing one; keep an elision (`l'`)."""
    return word.strip("'") if word.startswith("'") else word


def _repair_spanish(word: str) -> str:
    repaired = _SPANISH_WORDS.get(word, word)
    for pattern, replacement in _SPANISH_REPAIRS:
        repaired = pattern.sub(replacement, repaired)
    return repaired
