"""A small made language, from a seed: words of letters, and what tends to follow what."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mms_bench.ctc.posteriors import BOUNDARY, DENSITY, TOKENS

Sentence = tuple[str, ...]

_LETTERS = "etaoinshrdlcumwfgypbvkxjqz"
_WORDS = 2000
_FOLLOWERS = 12
_SEED = 1


def _vocabulary(random: np.random.Generator) -> list[str]:
    words: dict[str, None] = {}
    weights = 1.0 / np.arange(1, len(_LETTERS) + 1)
    while len(words) < _WORDS:
        length = int(random.integers(2, 9))
        letters = random.choice(list(_LETTERS), length, p=weights / weights.sum())
        words["".join(letters.tolist())] = None
    return list(words)


def sentences(count: int, *, seed: int) -> list[Sentence]:
    """Return sentences of 4 to 12 words; every seed speaks the same language."""
    language = np.random.default_rng(_SEED)
    words = _vocabulary(language)
    followers = language.integers(0, _WORDS, (_WORDS, _FOLLOWERS))
    followers[:, 0] //= 40  # common words are common after anything
    likely = 1.0 / np.arange(1, _FOLLOWERS + 1)
    chosen = np.cumsum(likely / likely.sum())
    random = np.random.default_rng((_SEED, seed))
    found = []
    for _ in range(count):
        word = int(random.integers(0, _WORDS))
        sentence = []
        for draw in random.random(int(random.integers(4, 13))):
            sentence.append(words[word])
            word = int(followers[word, min(int(np.searchsorted(chosen, draw)), _FOLLOWERS - 1)])
        found.append(tuple(sentence))
    return found


def spoken(frames: int, *, seed: int) -> list[int]:
    """Return the labels said in so many frames: whole words, a boundary after each."""
    wanted = round(frames * DENSITY)
    ids = {token: number for number, token in enumerate(TOKENS)}
    labels: list[int] = []
    for sentence in sentences(1 + wanted // 16, seed=seed):
        for word in sentence:
            labels += [*(ids[letter] for letter in word), BOUNDARY]
    if len(labels) < wanted:
        raise AssertionError("a sentence has at least 4 words of 3 labels")
    end = wanted
    while labels[end - 1] != BOUNDARY:
        end -= 1
    return labels[:end]


def vocabulary() -> list[str]:
    """Return all words of the language."""
    return _vocabulary(np.random.default_rng(_SEED))


def words_of(labels: Sequence[int]) -> list[str]:
    """Return the words that labels read as."""
    text = "".join(" " if label == BOUNDARY else TOKENS[label] for label in labels)
    return text.split()


def write_phrases(path: Path, count: int, *, seed: int) -> None:
    """Write phrases of one to three words to listen for, a line each, no two equal."""
    random = np.random.default_rng((_SEED, seed, count))
    found: dict[str, None] = {}
    for sentence in sentences(2 * count, seed=seed):
        length = int(random.integers(1, 4))
        found[" ".join(sentence[:length])] = None
    path.write_text("".join(f"{phrase}\n" for phrase in list(found)[:count]), encoding="utf-8")
