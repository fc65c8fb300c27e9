"""Generated language, from a seed: words of letters, sentences, and their n-gram model."""

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import log10
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
_SEED = 1
_DISCOUNT = 0.5
_UNKNOWN = 1e-5
"""Probability of a word that is not in the model."""


@functools.cache
def _language() -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the words, and for each the words that may follow it."""
    random = np.random.default_rng(_SEED)
    words: dict[str, None] = {}
    weights = 1.0 / np.arange(1, len(_LETTERS) + 1)
    while len(words) < _WORDS:
        length = int(random.integers(2, 9))
        letters = random.choice(list(_LETTERS), length, p=weights / weights.sum())
        words["".join(letters.tolist())] = None
    followers = random.integers(0, _WORDS, (_WORDS, _FOLLOWERS))
    followers[:, 0] //= 40  # common words follow any word
    return tuple(words), followers


def vocabulary() -> tuple[str, ...]:
    """Return all words of the language."""
    return _language()[0]


def sentences(count: int, *, seed: int) -> list[Gram]:
    """Return sentences of 4 to 12 words; every seed is the same language."""
    words, followers = _language()
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
    """Estimate a backoff model by absolute discounting and write it as an ARPA file."""
    probabilities, backoffs = _estimate(_count(texts, order))
    lines = ["\\data\\", *(f"ngram {n + 1}={len(probabilities[n])}" for n in range(order))]
    for n, grams in enumerate(probabilities):
        lines += ["", f"\\{n + 1}-grams:"]
        for gram, value in sorted(grams.items()):
            backoff = f"\t{log10(backoffs[gram]):.6f}" if gram in backoffs else ""
            lines.append(f"{log10(value) if value else -99:.6f}\t{' '.join(gram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")


def _count(texts: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for text in texts:
        words = ("<s>", *text, "</s>")
        for n in range(order):
            counts[n].update(words[start : start + n + 1] for start in range(len(words) - n))
    return counts


def _estimate(counts: list[Counter[Gram]]) -> tuple[list[dict[Gram, float]], dict[Gram, float]]:
    """Return probabilities by order, and backoff weights by context."""
    unigrams = {gram: count for gram, count in counts[0].items() if gram != ("<s>",)}
    total = sum(unigrams.values())
    first = {gram: (1 - _UNKNOWN) * count / total for gram, count in unigrams.items()}
    probabilities = [first | {("<unk>",): _UNKNOWN, ("<s>",): 0.0}]
    backoffs: dict[Gram, float] = {}
    for grams in counts[1:]:
        lower, here = probabilities[-1], dict[Gram, float]()
        followers: dict[Gram, list[Gram]] = defaultdict(list)
        for gram in grams:
            followers[gram[:-1]].append(gram)
        for context, seen in followers.items():
            count = sum(grams[gram] for gram in seen)
            here |= {gram: (grams[gram] - _DISCOUNT) / count for gram in seen}
            # The discounted mass goes to the words not seen here, as the shorter context has it.
            rest = 1.0 - sum(lower[gram[1:]] for gram in seen)
            backoffs[context] = _DISCOUNT * len(seen) / count / max(rest, 1e-9)
        probabilities.append(here)
    return probabilities, backoffs
