"""Vocabulary of a language to train, in the layout of Meta's own, and the tokens of texts."""

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import SPECIAL, WORD_BOUNDARY, Vocabulary

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
UNKNOWN = _SPECIAL.index("<unk>")
"""Id of what a vocabulary has no token for."""


def build_vocabulary(texts: Iterable[str], letters: Sequence[str] = ()) -> Vocabulary:
    """Return the vocabulary of texts: special tokens, the word boundary, letters by frequency.

    A language written without spaces has no word boundary.

    Args:
        texts: Prepared texts of the training clips; those held out would leak into it.
        letters: Letters of several characters, such as `ng`, which become one token each.

    Raises:
        MmsError: a text has a character that stands for the word boundary, or a letter has one
            character or is a special token.
    """
    letters = check_letters(letters)
    counts: Counter[str] = Counter()
    has_spaces = False
    for text in texts:
        if WORD_BOUNDARY in text:
            raise MmsError(
                f"the text {text!r} has {WORD_BOUNDARY!r}, which stands for the space between "
                "words in a vocabulary: replace it by another character"
            )
        has_spaces = has_spaces or " " in text
        counts.update(find_letters(text, letters))
    del counts[" "]
    ordered = sorted(counts, key=lambda letter: (-counts[letter], letter))
    boundary = (WORD_BOUNDARY,) if has_spaces else ()
    return Vocabulary((*_SPECIAL, *boundary, *ordered), WORD_BOUNDARY if has_spaces else None)


def check_letters(letters: Iterable[str]) -> tuple[str, ...]:
    """Return letters of several characters in NFC, each once.

    Raises:
        MmsError: one has a single character, or white space, or is a special token.
    """
    checked = [unicodedata.normalize("NFC", letter) for letter in letters]
    for letter in checked:
        is_split = any(c.isspace() or c == WORD_BOUNDARY for c in letter)
        if len(letter) < 2 or letter in SPECIAL or is_split:
            raise MmsError(
                f"{letter!r} is no letter of several characters: single characters are letters "
                "anyway, and white space, special tokens and | cannot be"
            )
    return tuple(dict.fromkeys(checked))


def find_letters(text: str, letters: Sequence[str]) -> list[str]:
    """Return the letters of a prepared text, spaces among them.

    Args:
        text: The text.
        letters: Letters of several characters, which are found before single characters.
    """
    return _pattern(tuple(letters)).findall(text)


def encode(text: str, vocabulary: Vocabulary) -> list[int]:
    """Return the ids of a prepared text; where several tokens fit, of the longest.

    What has no token is `UNKNOWN`; spaces are nothing in a vocabulary without a word boundary.
    `Vocabulary.text` is the inverse.
    """
    ids, pattern = _encoding(vocabulary)
    letters = pattern.findall(text)
    return [ids.get(letter, UNKNOWN) for letter in letters if letter in ids or letter != " "]


def frames_needed(ids: Sequence[object]) -> int:
    """Return the fewest frames in which CTC can write tokens: one each, and a blank in a repeat."""
    return len(ids) + sum(a == b for a, b in itertools.pairwise(ids))


def vocabulary_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """Return the tokens with their ids, as a language's object in vocab.json."""
    return {token: index for index, token in enumerate(vocabulary.tokens)}


@functools.lru_cache(maxsize=8)
def _encoding(vocabulary: Vocabulary) -> tuple[dict[str, int], re.Pattern[str]]:
    """Return the ids of the texts of tokens, and the pattern that finds them."""
    ids = {t: i for i, t in enumerate(vocabulary.tokens) if vocabulary.is_text(i)}
    if vocabulary.has_boundary:
        ids[" "] = vocabulary.tokens.index(str(vocabulary.word_delimiter))
    return ids, _pattern(tuple(token for token in ids if len(token) > 1))


@functools.lru_cache(maxsize=8)
def _pattern(letters: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of letters: the longest of several characters, else one character."""
    longest_first = sorted(letters, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), "."]), re.DOTALL)
