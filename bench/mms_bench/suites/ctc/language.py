"""Generated language, from a seed: words of letters, sentences, and their n-gram model."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from math import log10
from pathlib import Path

import numpy as np

from mms_bench.suites.ctc.posteriors import DENSITY
from mms_engine.text.vocabulary import WORD_BOUNDARY

Gram = tuple[str, ...]

_LETTERS = "etaoinshrdlcumwfgypbvkxjqz"
TOKENS = ("<pad>", "<s>", "</s>", "<unk>", WORD_BOUNDARY, *_LETTERS, "'")
"""The 32 tokens of wav2vec2's English vocabulary: blank, specials, word boundary, letters."""
_IDS = {token: number for number, token in enumerate(TOKENS)}
BOUNDARY = _IDS[WORD_BOUNDARY]
_WORDS = 2000
_FOLLOWERS = 12
"""Words that may follow a word, the first of them most likely."""
_SEED = 1
_BACKOFF = 0.4


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Return all words of the language."""
    random = np.random.default_rng(_SEED)
    words: dict[str, None] = {}
    weights = 1.0 / np.arange(1, len(_LETTERS) + 1)
    while len(words) < _WORDS:
        length = int(random.integers(2, 9))
        letters = random.choice(list(_LETTERS), length, p=weights / weights.sum())
        words["".join(letters.tolist())] = None
    return tuple(words)


def sentences(count: int, *, seed: int) -> list[Gram]:
    """Return sentences of 4 to 12 words; every seed is the same language."""
    words, random = vocabulary(), np.random.default_rng((_SEED, seed))
    found = []
    for _ in range(count):
        places = [int(random.integers(_WORDS))]
        length = int(random.integers(4, 13))
        for rank in np.minimum(random.zipf(1.7, length - 1), _FOLLOWERS).tolist():
            places.append((7 * places[-1] + 131 * rank) % _WORDS)
        found.append(tuple(words[place] for place in places))
    return found


def spoken(frames: int, *, seed: int) -> list[int]:
    """Return the labels of whole words that fill a number of frames."""
    wanted = round(frames * DENSITY)
    said = [word for words in sentences(1 + wanted // 12, seed=seed) for word in words]
    labels = [_IDS[letter] for word in said for letter in (*word, WORD_BOUNDARY)][:wanted]
    while labels[-1] != BOUNDARY:
        labels.pop()
    return labels


def phrases(count: int, *, seed: int) -> tuple[str, ...]:
    """Return distinct hotword phrases of one to three words."""
    random = np.random.default_rng((_SEED, seed, count))
    found = (
        " ".join(sentence[: int(random.integers(1, 4))])
        for sentence in sentences(2 * count, seed=seed)
    )
    return tuple(dict.fromkeys(found))[:count]


def write_arpa(path: Path, texts: Iterable[Sequence[str]], *, order: int) -> None:
    """Write an n-gram model as an ARPA file, with relative frequencies and "stupid backoff".

    Brants et al., "Large Language Models in Machine Translation" (2007). Its probabilities do not
    add up to one, which does not matter to the speed of a decoder.
    """
    counts = Counter[Gram]({("<unk>",): 1})
    for text in texts:
        words = ("<s>", *text, "</s>")
        for size in range(1, order + 1):
            counts.update(words[start : start + size] for start in range(len(words) - size + 1))
    by_size = [sorted(gram for gram in counts if len(gram) == n) for n in range(1, order + 1)]
    total = sum(counts[gram] for gram in by_size[0])
    lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(by_size, 1))]
    for size, grams in enumerate(by_size, 1):
        lines += ["", f"\\{size}-grams:"]
        backoff = f"\t{log10(_BACKOFF):.6f}" if size < order else ""
        for gram in grams:
            probability = counts[gram] / (counts[gram[:-1]] if size > 1 else total)
            lines.append(f"{log10(probability):.6f}\t{' '.join(gram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
