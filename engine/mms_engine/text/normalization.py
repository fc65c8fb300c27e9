"""Normalisation of text as by fairseq's MMS data preparation, with source offsets.

The steps, their order and the character sets are those that the MMS models were trained with.
"""

import re
import unicodedata
from collections.abc import Iterator

from mms_engine.languages.table import language_from_code
from mms_engine.text.aligned import AlignedText, Edit


def _characters(ranges: str) -> str:
    """Return the characters of code point ranges in hexadecimal, such as `0021-0026 002E`."""
    spans = (part.partition("-") for part in ranges.split())
    return "".join(
        chr(i) for low, _, high in spans for i in range(int(low, 16), int(high or low, 16) + 1)
    )


_PUNCTUATION = _characters("""
    0008 001A 0021-0026 0028-002C 002E-002F 003A-0040 005B 005D-005F 007B-007E 0081 008D 008F-0090
    0092-0094 009D 00A1 00A3 00A9 00AB-00AC 00AF-00B0 00B6-00B7 00BB-00BD 00BF 00D7 02C7 02DC 037E
    0387 055A-055F 0589 05BE 060C 061B 061E-061F 0640 06D4 0964-0965 09F7 0E46 0EC6 0F04-0F05
    0F0C-0F0E 104A-104F 109F 1361-1366 166D-166E 17D4-17D7 17DA 2006 2015 2018-2022 2026-2027
    202F-2030 2038-203B 2044 2060 206F 2071 207F 20AC 2153 215F 2192 2212 226A-226B 22EF 230A-230B
    231E-231F 2500 2D70 3001-3002 3005 3008-3011 3014-3015 30FB-30FC A4FE-A4FF A92E-A92F E003 E013
    E01D E040-E041 E043 E06B E06D E070 E203 E231-E234 E236 E290-E296 E2D9 E2DB E2DE E2F9-E2FC E2FE
    E313 E328-E32E E492-E493 E514 E516-E518 EA01 EA7B F171-F173 F218 F21D F50E-F50F F511 F513
    F518-F519 F521-F523 F529 F52D F62D F7D0 F7E8 FD3E-FD3F FE4F-FE50 FE55-FE57 FF01 FF08-FF09 FF0C
    FF0E-FF0F FF1A-FF1C FF1E-FF1F FF3F FF41-FF44 FF5E FF65 FFFD""")
"""Characters replaced by a space. The hyphen, dashes and the straight apostrophe are not among
them; three letters (U+3005, U+30FC and U+0E46, which repeat or lengthen) are."""
_DELETED = _characters("064B-0652 0656-0657 200B-200C 200E-200F 202A 202C")
"""Arabic vowel marks, zero width space and non-joiner, direction marks."""
_DIGITS = _characters("""
    0030-0039 06F0-06F9 0966-096F 09E6-09EF 0B66-0B6F 0D66-0D6F 1040-1049 17E0-17E9 206F 2170-2179
    A900-A909 FF10-FF19""")

_DELETED_IN = {
    "heb": _characters("05B0-05CF"),
    "khk": "\u00ad",
    "mon": "\u00ad",
}
_PUNCTUATION_IN = {"tha": "\u200d"}
_WITHOUT_DIACRITICS = frozenset({"jav"})

_QUOTES = "\u2018\u2019\u201b"
_MARKUP = re.compile("&(?:lt;|gt;|nbsp)")
# fairseq sets this rule for Arabic in a mapping that all its languages share.
_ALEF = {0x671: "\u0627"}
_DIGIT_WORD = re.compile(
    r"^[{0}]+(?=\s)|(?<=\s)[{0}]+(?=\s)|(?<=\s)[{0}]+$".format(re.escape(_DIGITS))
)
_SPACE = re.compile(r"\s+")
_RUN = re.compile(r"\S+")


def normalize(text: AlignedText, language: str) -> AlignedText:
    """Return a line of text as fairseq's `text_normalize` does.

    In order: NFKC; lower case; parentheses that contain a digit become a space; HTML leftovers
    go, and in each run without white space the last curly apostrophe between two characters
    becomes straight; punctuation becomes spaces; vowel and direction marks go; words of digits
    go; Javanese loses its diacritics; white space becomes single spaces.

    Deviation: fairseq transliterates Javanese by `unidecode`, which deletes all Javanese script;
    only the diacritics of Latin letters go here.

    Args:
        text: One line.
        language: Code of the language, as in MMS.
    """
    iso = language_from_code(language).iso
    punctuation = _PUNCTUATION + _PUNCTUATION_IN.get(iso, "")
    deleted = frozenset(_DELETED + _DELETED_IN.get(iso, ""))
    text = text.normalize("NFKC").lower()
    text = text.edit(_parentheses_with_digits(text.text)).sub(_MARKUP, "")
    text = text.edit(_apostrophes(text.text)).translate(_ALEF)
    text = text.translate(dict.fromkeys(map(ord, punctuation), " "))
    text = text.delete(deleted.__contains__).sub(_DIGIT_WORD, " ")
    if iso in _WITHOUT_DIACRITICS:
        text = text.edit(_latin_diacritics(text.text))
    return strip(text.sub(_SPACE, " "))


def strip(text: AlignedText) -> AlignedText:
    """Return text without white space at its ends."""
    start = len(text.text) - len(text.text.lstrip())
    return text[start : len(text.text.rstrip())]


def _parentheses_with_digits(text: str) -> Iterator[Edit]:
    start = text.find("(")
    while start >= 0:
        end = text.find(")", start) + 1
        if not end:
            return
        if any(map(str.isdecimal, text[start:end])):
            yield start, end, " "
        start = text.find("(", end)


def _apostrophes(text: str) -> Iterator[Edit]:
    for run in _RUN.finditer(text):
        start, end = run.span()
        place = max(text.rfind(quote, start + 1, end - 1) for quote in _QUOTES)
        if place >= 0:
            yield place, place + 1, "'"


def _latin_diacritics(text: str) -> Iterator[Edit]:
    for i, character in enumerate(text):
        base = unicodedata.normalize("NFD", character)[0]
        if base != character and base.isascii():
            yield i, i + 1, base
