"""Sentences that the teacher reads to the demo voice, and the voice's letters.

Three sources: the definitions and examples of WordNet (Debian's `wordnet-base`, Princeton's
licence) and the clauses of the Debian Administrator's Handbook, neither of them committed here;
everyday sentences made of the words of `everyday.json`; and rows of words drawn from all of these
with rare ones favoured, so that the spelling of English is learned from more than its commonest
words.
"""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
from examples.demo.prepare import CACHE
from examples.demo.sentences import book_clauses, fetch_book

HERE = Path(__file__).parent
# The order of facebook/mms-tts-eng, where the blank, id 0, is the letter k too.
LETTERS = "k'zyudheswcp-jmi flobranxvtqg"
VOCABULARY = {letter: index for index, letter in enumerate(LETTERS)}
WORDNET_PACKAGE = "wordnet-base"
_WORDNET_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
_SLOT = re.compile(r"\{(\w+)\}")
COMMON_WORDS = 5000
LEAST_WORDS, MOST_WORDS, MOST_LETTERS = 2, 16, 90


def normalise(text: str) -> str | None:
    """Return `text` in letters of the voice, or None where it has others or an odd length."""
    text = re.sub(r"[\u2018\u2019`]", "'", text.lower())
    text = " ".join(re.sub(r"[.,;:!?\"()]", " ", text).split())
    text = re.sub(r"(?<![a-z])['-]+|['-]+(?![a-z])", "", text)
    words = text.split()
    if not LEAST_WORDS <= len(words) <= MOST_WORDS or len(text) > MOST_LETTERS:
        return None
    if set(text) - set(LETTERS) or any(len(word) == 1 and word not in "ai" for word in words):
        return None
    return " ".join(words)


def held_out_sentences() -> list[str]:
    """Return the sentences that measure the voice and are never trained on."""
    return (HERE / "heldout.txt").read_text(encoding="utf-8").splitlines()


def wordnet_sentences(cache: Path = CACHE / "voices") -> list[str]:
    """Return the definitions and examples of WordNet, downloaded unless they are there."""
    folder = cache / "packages/usr/share/wordnet"
    if not folder.exists():
        debs = cache / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", "download", "-o", "APT::Sandbox::User=root", WORDNET_PACKAGE]
        subprocess.run(command, cwd=debs, check=True, stdout=subprocess.DEVNULL)
        deb = next(debs.glob(f"{WORDNET_PACKAGE}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(deb), str(cache / "packages")], check=True)
    parts: list[str] = []
    for name in _WORDNET_FILES:
        for line in (folder / name).read_text(encoding="latin-1").splitlines():
            if not line.startswith(" "):
                parts += re.split(r"[;\"()]", line.partition(" | ")[2])
    return sorted({text for part in parts if (text := normalise(part))})


def everyday_sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Return sentences of `everyday.json`: patterns whose slots are filled with its words."""
    lists = json.loads((HERE / "everyday.json").read_text(encoding="utf-8"))

    def fill(pattern: str) -> str:
        return _SLOT.sub(lambda slot: fill(str(rng.choice(lists[slot[1]]))), pattern)

    found = (normalise(fill(str(rng.choice(lists["sentence"])))) for _ in range(count))
    return [text for text in found if text]


def word_rows(sentences: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return rows of three to eight words, drawn by the fourth root of their frequency."""
    counts = Counter(word for text in sentences for word in text.split())
    words = [word for word, times in sorted(counts.items()) if times > 1]
    weights = np.array([counts[word] for word in words]) ** 0.25
    drawn = rng.choice(words, size=(count, 8), p=weights / weights.sum())
    lengths = rng.integers(3, 9, size=count)
    rows = (normalise(" ".join(row[:n])) for row, n in zip(drawn, lengths, strict=True))
    return [text for text in rows if text]


def common_first(sentences: list[str]) -> list[str]:
    """Return `sentences` with those of common words before the others, in the same order."""
    counts = Counter(word for text in sentences for word in text.split())
    common = {word for word, _ in counts.most_common(COMMON_WORDS)}
    return sorted(sentences, key=lambda text: not common.issuperset(text.split()))


def training_sentences(seed: int = 0) -> list[str]:
    """Return all sentences to train on: the same ones in the same order every time.

    Sentences of common words come first, so that the first shards are of use by themselves.
    """
    rng = np.random.default_rng(seed)
    wordnet = wordnet_sentences()
    book = [t for c in sorted(book_clauses(fetch_book(CACHE), "eng")) if (t := normalise(c))]
    everyday = everyday_sentences(30_000, rng)
    natural = sorted({*wordnet, *book, *everyday} - set(held_out_sentences()))
    rng.shuffle(natural)
    sentences = common_first(natural)
    rows = word_rows(natural, len(natural) // 6, rng)
    places = np.linspace(0, len(sentences), len(rows), endpoint=False).astype(int)
    mixed: list[str] = []
    for row, start, end in zip(rows, places, [*places[1:], len(sentences)], strict=True):
        mixed += [row, *sentences[start:end]]
    return mixed
