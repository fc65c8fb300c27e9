"""Languages selected by code or glob."""

import fnmatch
from collections.abc import Iterable

from mms_engine.errors import LanguageError
from mms_engine.languages import nearest

ALL = "all"


def parse_patterns(asked: str) -> list[str]:
    """Return the codes and globs of a `--lang` value; `all` is the glob `*`."""
    parts = [part.strip() for part in asked.split(",")]
    return ["*" if part == ALL else part for part in parts if part]


def select_languages(asked: str, known: Iterable[str], *, source: str) -> tuple[str, ...]:
    """Return the codes selected by `asked`, sorted.

    Args:
        asked: `all`, or codes and globs (`uzb-*`) separated by commas.
        known: Codes of the checkpoint.
        source: Name of the checkpoint, for messages.

    Raises:
        LanguageError: a code or glob matches nothing, or none is given.
    """
    codes = sorted(known)
    chosen: set[str] = set()
    for pattern in parse_patterns(asked):
        matches = fnmatch.filter(codes, pattern)
        if not matches:
            near = ", ".join(nearest(pattern, codes, count=3))
            hint = f"; did you mean {near}?" if near else ""
            raise LanguageError(f"{source} has no language {pattern!r}{hint}")
        chosen.update(matches)
    if not chosen:
        raise LanguageError("no language selected: name one, or `all`")
    return tuple(sorted(chosen))
