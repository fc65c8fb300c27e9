"""What the synthetic voices read: training sentences, new ones from their words, and a book.

The book is the Debian Administrator's Handbook, which Debian ships in all five languages. A
sentence whose hash falls among the held-out ones is never read in training.
"""

import html
import re
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from examples.demo.prepare import read_manifest
from examples.demo.text import is_held_out, normalise

BOOK_PACKAGE = "debian-handbook"
BOOK_LANGUAGES = {"eng": "en-US", "spa": "es-ES", "fra": "fr-FR", "ita": "it-IT", "rus": "ru-RU"}
_PARAGRAPH = re.compile(r'<div class="para">\s*(.*?)</div>', re.DOTALL)
_CODE = re.compile(r"<(code|strong|pre|span)[^>]*>.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_CLAUSE = re.compile(r"[.,;:!?()«»\u201c\u201d\"\u2013\u2014]+")


def fetch_book(cache: Path) -> Path:
    """Download and unpack the book; return the folder of its languages."""
    debs = cache / "debs"
    if not list(debs.glob(f"{BOOK_PACKAGE}_*.deb")):
        command = ["apt-get", "download", "-o", "APT::Sandbox::User=root", BOOK_PACKAGE]
        subprocess.run(command, cwd=debs, check=True, stdout=subprocess.DEVNULL)
    folder = cache / "packages/usr/share/doc" / BOOK_PACKAGE / "html"
    if not folder.exists():
        deb = next(debs.glob(f"{BOOK_PACKAGE}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(deb), str(cache / "packages")], check=True)
    return folder


def book_clauses(folder: Path, lang: str) -> set[str]:
    """Clauses of three to twelve words, normalised."""
    clauses = set()
    for page in sorted((folder / BOOK_LANGUAGES[lang]).glob("*.html")):
        for paragraph in _PARAGRAPH.findall(page.read_text(encoding="utf-8")):
            # Commands and names in code type are marked so that their clauses are left out.
            plain = html.unescape(_TAG.sub("", _CODE.sub("#", paragraph)))
            for clause in _CLAUSE.split(plain):
                text = normalise(" ".join(clause.split()), lang)
                if text and 3 <= len(text.split()) <= 12 and len(text) <= 80:
                    clauses.add(text)
    return clauses


def walks(sentences: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """New sentences in which every pair of words is one of `sentences`."""
    following = defaultdict(list)
    for sentence in sentences:
        words = ["", *sentence.split(), ""]
        for first, second in pairwise(words):
            following[first].append(second)
    found = []
    for _ in range(count):
        walk = [str(rng.choice(following[""]))]
        while len(walk) < 16 and (word := str(rng.choice(following[walk[-1]]))):
            walk.append(word)
        found.append(" ".join(walk))
    return found


def training_sentences(cache: Path, lang: str, rng: np.random.Generator) -> list[str]:
    """Recorded training sentences twice over, as many walks, and book clauses, shuffled."""
    clips = read_manifest(cache / "real.tsv")
    recorded = [clip.text for clip in clips if clip.lang == lang and clip.split == "train"]
    folder = fetch_book(cache)
    clauses = book_clauses(folder, lang)
    if lang != "eng":
        clauses -= book_clauses(folder, "eng")  # paragraphs that nobody translated
    book = sorted(clauses)
    rng.shuffle(book)
    mixed = recorded * 2 + walks(recorded, 3 * len(recorded), rng) + book[: 12 * len(recorded)]
    mixed = [sentence for sentence in mixed if not is_held_out(sentence)]
    rng.shuffle(mixed)
    return mixed


def held_out_sentences(cache: Path, lang: str) -> list[str]:
    """Sentences of the recordings that are never trained on."""
    clips = read_manifest(cache / "real.tsv")
    return sorted({c.text for c in clips if c.lang == lang and c.split == "heldout"})
