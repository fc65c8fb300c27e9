"""Dates, times of day and symbols of a text, written out by CLDR's data. Needs the extra `[tts]`.

The result has words and numbers: `5 %` becomes `5 percent`, `2026-11-29` becomes
`November 29, 2026`, as the language writes them.
"""

import datetime as dt
import functools
import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from mms_engine.errors import MmsError
from mms_engine.languages.table import all_languages, language_from_code
from mms_engine.text.aligned import AlignedText, Edit

_NUMBER = r"\d+(?:[.,\u00a0\u202f]\d+)*"
_CURRENCIES = {
    "$": "USD", "\u00a3": "GBP", "\u00a5": "JPY", "\u20a6": "NGN", "\u20a9": "KRW",
    "\u20aa": "ILS", "\u20ab": "VND", "\u20ac": "EUR", "\u20b1": "PHP", "\u20b4": "UAH",
    "\u20b5": "GHS", "\u20b8": "KZT", "\u20b9": "INR", "\u20ba": "TRY", "\u20bd": "RUB",
    "\u20be": "GEL", "\u20bf": "BTC",
}  # fmt: skip
_UNITS = {
    "%": "concentr-percent", "\u2030": "concentr-permille", "\u00b0": "angle-degree",
    "\u00b0C": "temperature-celsius", "\u00b0F": "temperature-fahrenheit",
    "km": "length-kilometer", "cm": "length-centimeter", "mm": "length-millimeter",
    "kg": "mass-kilogram", "km/h": "speed-kilometer-per-hour",
}  # fmt: skip
_SIGNS = "".join(map(re.escape, _CURRENCIES))
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_PATTERN = re.compile(
    r"(?<![\w.,/:-])(?:"
    r"(?P<iso>\d{4}-\d{2}-\d{2})"
    r"|(?P<dotted>\d{1,2}\.\d{1,2}\.\d{4})"
    r"|(?P<slashed>\d{1,2}/\d{1,2}/\d{4})"
    r"|(?P<time>(?:[01]?\d|2[0-3]):[0-5]\d)(?![:\d])"
    rf"|(?P<sign>[{_SIGNS}])\s?(?P<amount>{_NUMBER})"
    rf"|(?P<count>{_NUMBER})\s?(?:(?P<behind>[{_SIGNS}])|(?P<unit>{_UNIT})(?!\w))"
    r")(?![\d])"
    r"|(?<=\s)&(?=\s)"
)


def read_symbols(text: AlignedText, language: str) -> AlignedText:
    """Return a line of text with its dates, times, amounts of money and units written out.

    Read are dates of numbers (`2026-11-29`; `29.11.2026`; `11/29/2026`, whose order is the
    language's), times of day, currency signs and units beside a number, and `&` between words.
    A symbol that CLDR has no word for in the language stays as it is.

    Args:
        text: A line as written.
        language: Code of the language, as in MMS.

    Raises:
        MmsError: the text has a date or symbol, and Babel is not installed.
    """
    return text.edit(_edits(text.text, language))


def _edits(text: str, language: str) -> Iterator[Edit]:
    for match in _PATTERN.finditer(text):
        locale = _locale(language)
        written = None if locale is None else _written(match, locale)
        if written and written != match.group():
            yield (*match.span(), written)


def _written(match: re.Match[str], locale: Any) -> str | None:  # noqa: ANN401
    """Return a match in words and numbers; `None` for none."""
    if match.group() == "&":
        pattern = locale.list_patterns.get("standard", {}).get("2", "")
        return str(pattern).replace("{0}", "").replace("{1}", "").strip() or None
    for name, read in _DATES.items():
        if match[name]:
            return read(match[name], locale)
    if match["time"]:
        hours, minutes = match["time"].split(":")
        return f"{int(hours)}" if minutes == "00" else f"{int(hours)} {int(minutes)}"
    number, sign = match["amount"] or match["count"], match["sign"] or match["behind"]
    return _money(number, sign, locale) if sign else _measure(number, match["unit"], locale)


def _money(number: str, sign: str, locale: Any) -> str | None:  # noqa: ANN401
    code = _CURRENCIES[sign]
    count = int(number) if number.isdecimal() else 2
    numbers = importlib.import_module("babel.numbers")
    name = numbers.get_currency_name(code, count, locale=locale)
    return None if name == code else f"{number} {name}"


def _measure(number: str, unit: str, locale: Any) -> str | None:  # noqa: ANN401
    units, numbers = map(importlib.import_module, ("babel.units", "babel.numbers"))
    try:
        count = numbers.parse_decimal(number, locale=locale)
    except ValueError:
        return None
    written = str(units.format_unit(count, _UNITS[unit], locale=locale))
    return written if any(map(str.isalpha, written.replace(unit, ""))) else None


def _iso(text: str, locale: Any) -> str | None:  # noqa: ANN401
    year, month, day = map(int, text.split("-"))
    return _date(year, month, day, locale)


def _dotted(text: str, locale: Any) -> str | None:  # noqa: ANN401
    day, month, year = map(int, text.split("."))
    return _date(year, month, day, locale)


def _slashed(text: str, locale: Any) -> str | None:  # noqa: ANN401
    first, second, year = map(int, text.split("/"))
    pattern = str(locale.date_formats["short"].pattern)
    month_first = pattern.find("M") < pattern.find("d")
    month, day = (first, second) if month_first else (second, first)
    return _date(year, month, day, locale) or _date(year, day, month, locale)


def _date(year: int, month: int, day: int, locale: Any) -> str | None:  # noqa: ANN401
    """Return a date in long form; `None` if there is no such day."""
    try:
        date = dt.date(year, month, day)
    except ValueError:
        return None
    dates = importlib.import_module("babel.dates")
    return str(dates.format_date(date, "long", locale=locale))


_DATES: dict[str, Callable[[str, Any], str | None]] = {
    "iso": _iso,
    "dotted": _dotted,
    "slashed": _slashed,
}


@functools.cache
def _locale(language: str) -> Any:  # noqa: ANN401
    """Return CLDR's data on a language; `None` if there is none.

    Raises:
        MmsError: Babel is not installed.
    """
    try:
        babel = importlib.import_module("babel")
    except ImportError as error:
        raise MmsError(
            "reading dates and symbols needs the package babel: pip install 'mms-engine[tts]'"
        ) from error
    iso = language_from_code(language).iso
    known = [one for one in all_languages() if one.iso == iso]
    for tag in (*(one.tag for one in known), *(one.iso1 for one in known), iso):
        try:
            if tag:
                return babel.Locale.parse(tag, sep="-")
        except (ValueError, babel.UnknownLocaleError):
            continue
    return None
