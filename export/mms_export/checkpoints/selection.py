"""Language codes: those that can name a file, and selection by code or glob."""

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping

from mms_engine.errors import LanguageError
from mms_engine.languages import nearest

ALL = "all"
UNKNOWN_LANGUAGE = "und"
"""Code of ISO 639 for a language that is not known."""
_UNSAFE = re.compile(r"""[\x00-\x20\x7f/\\:*?"'<>|,;\[\]{}$`]|^[.-]|\.$""")
_LONGEST = 64
"""Bytes of a code in UTF-8, well within the limit of a file name."""


def normal_code(code: str) -> str:
    """Return a code in the normal form in which codes are compared, NFC."""
    return unicodedata.normalize("NFC", code)


def checked_code(code: str) -> str:
    """Return a code in its normal form.

    Raises:
        LanguageError: it cannot name a file on every system, or be given to `--lang`.
    """
    code = normal_code(code)
    if not code or _UNSAFE.search(code) or len(code.encode(errors="replace")) > _LONGEST:
        raise LanguageError(
            f"{code!r} cannot be a language code: use up to {_LONGEST} letters, digits and the "
            "signs - _ . with a letter first, such as tur or uzb-script_latin"
        )
    return code


def parse_patterns(asked: str) -> list[str]:
    """Return the codes and globs of a `--lang` value; `all` is the glob `*`."""
    parts = [normal_code(part.strip()) for part in asked.split(",")]
    return ["*" if part == ALL else part for part in parts if part]


def is_glob(pattern: str) -> bool:
    """Whether a pattern may match several codes."""
    return any(sign in pattern for sign in "*?[")


def single_code(asked: str) -> str | None:
    """Return the code of a `--lang` value that names one language, without globs."""
    patterns = parse_patterns(asked)
    return patterns[0] if len(patterns) == 1 and not is_glob(patterns[0]) else None


def whole_only(name: str, kind: str, asked: str) -> None:
    """Check that a model without languages to choose from is to be exported as a whole.

    Raises:
        LanguageError: some of them are.
    """
    if asked != ALL:
        raise LanguageError(f"{name} is {kind}, without languages to choose from: leave out --lang")


def matching(asked: str, codes: Iterable[str]) -> list[str]:
    """Return the codes that `asked` selects, sorted."""
    found = {code for pattern in parse_patterns(asked) for code in fnmatch.filter(codes, pattern)}
    return sorted(found)


def select_languages(
    asked: str, known: Iterable[str], *, source: str, unusable: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the codes selected by `asked`, sorted.

    Args:
        asked: `all`, or codes and globs (`uzb-*`) separated by commas.
        known: Codes of the checkpoint.
        source: Name of the checkpoint, for messages.
        unusable: Codes that cannot be exported, and why; a glob passes them over.

    Raises:
        LanguageError: a code or glob matches nothing that can be exported, or none is given.
    """
    codes, unusable = sorted(known), unusable or {}
    chosen: set[str] = set()
    for pattern in parse_patterns(asked):
        matches = fnmatch.filter(codes, pattern)
        if not matches:
            for code in fnmatch.filter(unusable, pattern):
                raise LanguageError(unusable[code])
            near = ", ".join(nearest(pattern, codes, count=3))
            hint = f"; did you mean {near}?" if near else ""
            raise LanguageError(f"{source} has no language {pattern!r}{hint}")
        chosen.update(matches)
    if not chosen:
        raise LanguageError("no language selected: name one, or `all`")
    return tuple(sorted(chosen))
