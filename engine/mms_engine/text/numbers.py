"""Numbers in digits, read out in words by num2words (extra `[align]`) or CLDR's rules (`[tts]`)."""

import functools
import importlib
import re
import threading
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any, Literal

from mms_engine.errors import LanguageError, MmsError
from mms_engine.languages import resolve
from mms_engine.languages.table import language_from_code
from mms_engine.text.aligned import AlignedText, Edit

_LANGUAGES = {
    "amh": "am", "ara": "ar", "arb": "ar", "aze": "az", "azj": "az", "bel": "be", "ben": "bn",
    "cat": "ca", "ces": "cs", "che": "ce", "cym": "cy", "dan": "da", "deu": "de", "eng": "en",
    "epo": "eo", "fas": "fa", "fin": "fi", "fra": "fr", "heb": "he", "hun": "hu", "ind": "id",
    "isl": "is", "ita": "it", "jpn": "ja", "kan": "kn", "kaz": "kz", "kor": "ko", "lav": "lv",
    "lit": "lt", "nld": "nl", "nob": "no", "nor": "no", "pes": "fa", "pol": "pl", "por": "pt",
    "ron": "ro", "rus": "ru", "slk": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv",
    "tdt": "tet", "tel": "te", "tet": "tet", "tgk": "tg", "tha": "th", "tur": "tr", "ukr": "uk",
    "vie": "vi",
}  # fmt: skip
"""Codes of num2words by ISO 639-3."""
_CLDR_LANGUAGES = {
    "afr": "af", "aka": "ak", "bul": "bg", "ccp": "ccp", "cmn": "zh", "ell": "el", "ewe": "ee",
    "fil": "fil", "ful": "ff", "hin": "hi", "hrv": "hr", "khm": "km", "kir": "ky", "lao": "lo",
    "ltz": "lb", "msa": "ms", "mya": "my", "nep": "ne", "npi": "ne", "que": "qu", "quz": "qu",
    "sun": "su", "swa": "sw", "swh": "sw", "tam": "ta", "tgl": "fil", "vec": "vec", "yue": "yue",
    "zho": "zh", "zlm": "ms", "zul": "zu",
}  # fmt: skip
"""Codes of CLDR's spellout rules by ISO 639-3, for languages that num2words lacks."""

_DECIMAL_POINT = frozenset({
    "ak", "am", "bn", "ccp", "cy", "ee", "en", "fil", "he", "hi", "ja", "kn", "ko", "ms", "my",
    "ne", "qu", "sw", "ta", "te", "th", "yue", "zh", "zu",
})  # fmt: skip
"""Languages that write decimals with a point and groups with a comma; the others reverse it."""
_GROUPS_BY_SPACE = frozenset({
    "af", "be", "bg", "cs", "eo", "fi", "fr", "hu", "is", "ky", "kz", "lt", "lv", "no", "pl", "ru",
    "sk", "sv", "uk",
})  # fmt: skip
"""Languages that write `20 000` with any space; a no-break space groups in all of them."""
_WITHOUT_DECIMALS = frozenset({"ce", "cy", "fa", "id", "it", "ky", "tr", "vi", "zu"})
"""Languages whose decimals num2words and CLDR refuse or read wrongly."""
_YEARS = frozenset({"da", "de", "en", "nl", "no"})
"""Languages that read a year by hundreds."""
_FIRST_YEAR, _LAST_YEAR = 1100, 2099
_ENGLISH_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)

_CLDR_CODES = frozenset(_CLDR_LANGUAGES.values())
_INVISIBLE = {0xAD: "", 0x200B: ""}
"""Soft hyphen and zero width space, which CLDR puts between the parts of a word."""

_LARGEST = {"am": 10**3}
"""Bounds above which num2words has no words, where they are below `_MAX_NUMBER`."""
_MAX_NUMBER = 10**12
_MAX_DIGITS = 100

_NUMBER = re.compile(r"\d+(?:[.,\u066b\u066c'\u2019 \u00a0\u2009\u202f\uff0c\uff0e]\d+)*")
_DIGITS = re.compile(r"\d+")
_SPACES = " \u00a0\u2009\u202f"
_GROUP_MARKS = "\u00a0\u2009\u202f\u066c'\u2019"
_GROUP = 3
_SAME_MARK = {"\uff0c": ",", "\uff0e": "."}

Kind = Literal["cardinal", "ordinal", "year"]

_UNKNOWN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Errors of the packages for a number that they have no words for."""

_lock = threading.Lock()


def read_numbers(text: AlignedText, language: str, *, cldr: bool = False) -> AlignedText:
    """Return a line of text with its numbers in words.

    All letters of the words stand for the digits and their separators. Read are cardinals with
    or without groups (`12,000`, `12.000` or `12 000` as the language writes them), decimals,
    English ordinals (`3rd`), years where they are read by hundreds, digits of all scripts, and
    numbers with a leading zero digit by digit. Parts of times, dates and ranges are read one by
    one. A number that the language's rules do not cover stays in digits.

    Args:
        text: A line as written, before normalisation.
        language: Code of the language, as in MMS.
        cldr: Whether languages that num2words lacks are read by CLDR's rules.

    Raises:
        MmsError: the text has a number, and the package that reads it is not installed.
    """
    iso = language_from_code(language).iso
    code = _LANGUAGES.get(iso) or (_CLDR_LANGUAGES.get(iso) if cldr else None)
    if code is None:
        return text
    return text.edit(_edits(text.text, code))


def number_language(query: str) -> str:
    """Return the code of a language whose numbers can be read out, with `cldr`.

    Args:
        query: Code, tag or name; see `languages.resolve`.

    Raises:
        LanguageError: it stands for none, or for several.
    """
    known = {**_LANGUAGES, **_CLDR_LANGUAGES}
    if language_from_code(query).iso in known:
        return query
    try:
        return resolve(query, known)
    except LanguageError as error:
        raise LanguageError(f"the language to read numbers in is not known: {error}") from error


def _edits(text: str, code: str) -> Iterator[Edit]:
    for match in _NUMBER.finditer(text):
        for start, end, number, kind in _numbers(text, *match.span(), code):
            # A superscript or a fraction behind the digits is part of the number.
            follower = text[end : end + 1]
            if follower.isnumeric() and not follower.isdecimal():
                continue
            words = _read(number, kind, code)
            if words:
                before = " " if text[max(start - 1, 0) : start].isalnum() else ""
                after = " " if follower.isalnum() else ""
                yield start, end, f"{before}{words}{after}"


def _numbers(text: str, start: int, end: int, code: str) -> Iterator[tuple[int, int, str, Kind]]:
    """Return the numbers of a run of digits and separators, each as span, value and kind."""
    runs = [run.span() for run in _DIGITS.finditer(text, start, end)]
    digits = [_ascii(text[start:end]) for start, end in runs]
    marks = [text[end] for _, end in runs[:-1]]
    marks = [_SAME_MARK.get(mark, mark) for mark in marks]
    first = 0
    while first < len(runs):
        last, value = _grouped(digits, marks, first, code)
        (start, _), (_, end) = runs[first], runs[last]
        kind: Kind = "cardinal"
        suffix = _ENGLISH_ORDINAL.match(text, end) if code == "en" else None
        if suffix and "." not in value:
            kind, end = "ordinal", suffix.end()
        elif first == last and code in _YEARS and _is_year(value):
            kind = "year"
        yield start, end, value, kind
        first = last + 1


def _grouped(digits: list[str], marks: list[str], first: int, code: str) -> tuple[int, str]:
    """Return the last part of the number that begins with part `first`, and its value."""
    last = first
    if len(digits[first]) <= _GROUP and digits[first][0] != "0":
        while (
            last < len(marks)
            and len(digits[last + 1]) == _GROUP
            and marks[last] == marks[first]
            and _groups(marks[last], digits[last + 1], code)
        ):
            last += 1
    value = "".join(digits[first : last + 1])
    if _is_decimal(marks, first, last, code):
        return last + 1, f"{value}.{digits[last + 1]}"
    return last, value


def _groups(mark: str, digits: str, code: str) -> bool:
    """Return whether a mark between digits separates groups of a language's numbers."""
    if mark == " ":
        return code in _GROUPS_BY_SPACE or digits[0] == "0"
    return mark in _GROUP_MARKS or mark == ("," if code in _DECIMAL_POINT else ".")


def _is_decimal(marks: list[str], first: int, last: int, code: str) -> bool:
    """Return whether the mark behind part `last` is the only decimal mark of a number."""
    if last == len(marks) or code in _WITHOUT_DECIMALS:
        return False
    around = [*marks[first - 1 : first], *marks[last + 1 : last + 2]]
    point = "." if code in _DECIMAL_POINT else ","
    return marks[last] in (point, "\u066b") and all(mark in _SPACES for mark in around)


def _ascii(digits: str) -> str:
    return "".join(str(unicodedata.decimal(digit)) for digit in digits)


def _is_year(value: str) -> bool:
    return len(value) == 4 and value.isdigit() and _FIRST_YEAR <= int(value) <= _LAST_YEAR


@functools.lru_cache(maxsize=4096)
def _read(number: str, kind: Kind, code: str) -> str | None:
    """Return a number in words, or `None` if the language's rules do not cover it."""
    whole = number.partition(".")[0]
    if len(whole) > _MAX_DIGITS:
        return None
    if (len(whole) > 1 and whole.startswith("0")) or len(whole) > len(str(_MAX_NUMBER)):
        words = [_convert(digit, "cardinal", code) for digit in number if digit != "."]
        return None if None in words else " ".join(word or "" for word in words)
    if int(whole) >= _LARGEST.get(code, _MAX_NUMBER):
        return None
    return _convert(number, kind, code)


def _convert(number: str, kind: Kind, code: str) -> str | None:
    value = Decimal(number) if "." in number else int(number)
    try:
        with _lock:  # their converters keep state between calls
            if code in _CLDR_CODES:
                words = _cldr(code).format_number(number if "." in number else int(number)).text
                words = words.translate(_INVISIBLE)
            else:
                words = str(_package("num2words").num2words(value, lang=code, to=kind))
    except _UNKNOWN:
        return None
    return words.strip() or None


@functools.cache
def _cldr(code: str) -> Any:  # noqa: ANN401
    """Return the spellout rules of a language."""
    return _package("unicode_rbnf", "tts").RbnfEngine.for_language(code)


def _package(name: str, extra: str = "align") -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pip = name.replace("_", "-")
        raise MmsError(
            f"reading numbers needs the package {pip}: pip install 'mms-engine[{extra}]'"
        ) from error
