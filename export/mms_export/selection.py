"""Chooses languages by code or glob."""

import fnmatch
from collections.abc import Iterable

from mms_engine.bundle.reader import suggest
from mms_engine.errors import LanguageError

ALL = "all"


def select_languages(asked: str, known: Iterable[str], *, source: str) -> tuple[str, ...]:
    """Return the codes that `asked` means, sorted.

    Args:
        asked: `all`, or codes and globs (`uzb-*`) separated by commas.
        known: Codes of the checkpoint.
        source: Name of the checkpoint, for messages.

    Raises:
        LanguageError: something asked for matches nothing.
    """
    codes = sorted(known)
    if asked.strip() == ALL:
        return tuple(codes)
    chosen: set[str] = set()
    for pattern in filter(None, (part.strip() for part in asked.split(","))):
        matches = fnmatch.filter(codes, pattern)
        if not matches:
            raise LanguageError(f"{source} has no language {pattern!r}{suggest(pattern, codes)}")
        chosen.update(matches)
    if not chosen:
        raise LanguageError("no language was asked for: name one, or `all`")
    return tuple(sorted(chosen))
