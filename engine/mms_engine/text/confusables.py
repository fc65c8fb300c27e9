"""Characters that look alike, by Unicode's data on confusables (UTS 39) and a few more."""

import functools
from collections.abc import Collection
from pathlib import Path

_TABLE = Path(__file__).with_name("confusables.tsv")


def look_alikes(character: str, among: Collection[str]) -> tuple[str, ...]:
    """Return the characters of a vocabulary that look like another character.

    Args:
        character: One code point, such as `ө` (U+04E9).
        among: Tokens of the vocabulary, which may have `ѳ` (U+0473).
    """
    found = (one for one in _classes().get(character, "") if one != character and one in among)
    return tuple(found)


@functools.cache
def _classes() -> dict[str, str]:
    """Return, for each character, all that look like it."""
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    return {character: line for line in lines for character in line}
