"""Word 3-grams of the demo's languages, from openly licensed text.

    pip install wordfreq
    python -m examples.demo.language_models

Counts come from texts of Debian packages and from the training transcripts of the multi-speaker
set; probabilities of single words also from wordfreq's lists. Interpolated Witten-Bell smoothing,
the most frequent n-grams only. Writes `lm/LANG.arpa.gz` for `--decoder beam --lm`.
"""

import csv
import gzip
import html
import itertools
import logging
import math
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from examples.demo.multispeaker import SPEECH
from examples.demo.prepare import CACHE
from examples.demo.text import LANGUAGES, normalise

from mms_engine.formats.output import open_output

logger = logging.getLogger(__name__)

OUT = Path(__file__).parent / "lm"
PACKAGES = {
    "eng": ("fortunes", "wordnet-base", "debian-handbook"),
    "spa": ("fortunes-es", "debian-handbook", "debian-edu-doc-es"),
    "fra": ("debian-handbook", "debian-edu-doc-fr", "debian-reference-fr"),
    "ita": ("fortunes-it", "debian-handbook", "debian-edu-doc-it"),
    "rus": ("fortunes-ru", "debian-handbook", "aptitude-doc-ru"),
}
CODES = {"eng": "en", "spa": "es", "fra": "fr", "ita": "it", "rus": "ru"}
WORDS = 30_000
NGRAMS = 80_000
"""Most 2-grams and 3-grams together: 3 MB as a compact file."""
SPOKEN_WEIGHT = 4
"""Times that a transcript of speech counts: it is what the recogniser will meet."""
WORD_COUNTS = 400_000
"""Counts that wordfreq's probabilities stand for, beside those of the texts."""
START, END, UNKNOWN = "<s>", "</s>", "<unk>"
_TAGS = re.compile(r"<(script|style|pre|code)\b.*?</\1>|<[^>]+>", re.DOTALL)
_BLOCK_ENDS = re.compile(r"</(p|li|dd|dt|h\d|td|div)>")
_ENDS = re.compile(r"[.!?…;:]+[\s»”\"]+|\n\s*\n|\n%\n|\n\s*--|[•—\"«»“”]|\s-\s")

Gram = tuple[str, ...]


def sentences(language: str, cache: Path, speech: Path) -> Iterator[tuple[list[str], int]]:
    """Yield sentences as words, with the times they count, a text's repetitions left out."""
    seen: set[str] = set()
    texts = itertools.chain(
        ((text, SPOKEN_WEIGHT) for text in _transcripts(language, speech)),
        ((text, 1) for package in PACKAGES[language] for text in _texts(package, language, cache)),
    )
    for text, weight in texts:
        for piece in _ENDS.split(text):
            sentence = normalise(" ".join(piece.split()), language)
            if sentence and sentence not in seen:
                seen.add(sentence)
                yield sentence.split(), weight


def _transcripts(language: str, speech: Path) -> Iterator[str]:
    table = speech / "metadata.tsv"
    if not table.is_file():
        return
    with table.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["lang"] == language and row["split"] == "train":
                yield row["text"]


def _texts(package: str, language: str, cache: Path) -> Iterator[str]:
    """Yield the texts of a package in a language, downloaded unless it is in the cache."""
    folder = cache / "packages" / package
    if not folder.is_dir():
        debs = cache / "debs"
        for made in (debs, folder.parent):
            made.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", package], cwd=debs, check=True)
        (deb,) = debs.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or not _is_text(path, package, language):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".html":
            text = html.unescape(_TAGS.sub(" ", _BLOCK_ENDS.sub("\n\n", text)))
        if package.startswith("wordnet"):
            text = "\n\n".join(line.partition("| ")[2] for line in text.splitlines())
        yield text


def _is_text(path: Path, package: str, language: str) -> bool:
    if package.startswith("fortunes"):
        return "fortunes" in path.parts and path.suffix not in (".dat", ".gz")
    if package.startswith("wordnet"):
        return path.name.startswith("data.")
    if package == "debian-handbook":
        return path.suffix == ".html" and path.parent.name.startswith(f"{CODES[language]}-")
    return path.suffix == ".html"


def count(found: Iterable[tuple[list[str], int]]) -> list[Counter[Gram]]:
    """Return the counts of n-grams of orders 1 to 3, sentence borders included."""
    counts: list[Counter[Gram]] = [Counter(), Counter(), Counter()]
    for words, weight in found:
        padded = [START, *words, END]
        for order, counter in enumerate(counts, 1):
            for place in range(len(padded) - order + 1):
                counter[tuple(padded[place : place + order])] += weight
    return counts


def unigrams(counts: Counter[Gram], language: str) -> dict[Gram, float]:
    """Return the probabilities of the most frequent words, of the end, and of unknown words."""
    from wordfreq import get_frequency_dict

    mixed: Counter[str] = Counter({word: number for (word,), number in counts.items()})
    mixed.pop(START, None)
    for word, frequency in get_frequency_dict(CODES[language], wordlist="best").items():
        if normalise(word, language) == word:
            mixed[word] += frequency * WORD_COUNTS  # type: ignore[assignment]
    total = sum(mixed.values())
    kept = dict(mixed.most_common(WORDS))
    probabilities: dict[Gram, float] = {(word,): n / total for word, n in kept.items()}
    # One unknown word stands for each of many rare ones.
    probabilities[UNKNOWN,] = min(kept.values()) / total
    scale = sum(probabilities.values())
    return {gram: p / scale for gram, p in probabilities.items()}


def smooth(
    counts: list[Counter[Gram]], words: dict[Gram, float]
) -> tuple[list[dict[Gram, float]], dict[Gram, float]]:
    """Return the probabilities of the n-grams kept, by order, and the back-off weights."""
    known = words.keys() | {(START,)}
    pool = [
        (number, gram)
        for counter in counts[1:]
        for gram, number in counter.items()
        if number > 1 and all((word,) in known for word in gram)
    ]
    pool.sort(key=lambda entry: (-entry[0], len(entry[1]), entry[1]))
    kept = {gram for _, gram in pool[:NGRAMS]}
    kept -= {gram for gram in kept if len(gram) == 3 and gram[:2] not in kept}
    totals: Counter[Gram] = Counter()
    kinds: Counter[Gram] = Counter()
    for counter in counts[1:]:
        for gram, number in counter.items():
            totals[gram[:-1]] += number
            kinds[gram[:-1]] += 1
    probabilities: list[dict[Gram, float]] = [dict(words), {}, {}]
    backoffs: dict[Gram, float] = {}
    for order in (2, 3):
        left: dict[Gram, list[float]] = defaultdict(lambda: [1.0, 1.0])
        for gram in sorted(gram for gram in kept if len(gram) == order):
            context = gram[:-1]
            below = _lookup(gram[1:], probabilities, backoffs)
            number = counts[order - 1][gram]
            p = (number + kinds[context] * below) / (totals[context] + kinds[context])
            probabilities[order - 1][gram] = p
            left[context][0] -= p
            left[context][1] -= below
        backoffs |= {
            context: max(mass, 1e-6) / max(below, 1e-6) for context, (mass, below) in left.items()
        }
    return probabilities, backoffs


def _lookup(
    gram: Gram, probabilities: list[dict[Gram, float]], backoffs: dict[Gram, float]
) -> float:
    found = probabilities[len(gram) - 1].get(gram)
    if found is not None or len(gram) == 1:
        return found or 0.0
    return backoffs.get(gram[:-1], 1.0) * _lookup(gram[1:], probabilities, backoffs)


def write_arpa(
    path: Path, probabilities: list[dict[Gram, float]], backoffs: dict[Gram, float]
) -> None:
    """Write a model as a compressed ARPA file, the same bytes each time."""
    tables: list[dict[Gram, float]] = [{(START,): 0.0, **probabilities[0]}, *probabilities[1:]]
    lines = ["\\data\\", *(f"ngram {n}={len(table)}" for n, table in enumerate(tables, 1)), ""]
    for order, table in enumerate(tables, 1):
        lines.append(f"\\{order}-grams:")
        for gram, p in sorted(table.items()):
            log = f"{math.log10(p):.3f}" if p else "-99"
            back = f"\t{math.log10(backoffs[gram]):.3f}" if gram in backoffs else ""
            lines.append(f"{log}\t{' '.join(gram)}{back}")
        lines.append("")
    content = "\n".join([*lines, "\\end\\", ""]).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_output(path, binary=True) as stream:
        stream.write(gzip.compress(content, mtime=0))


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True)
@click.option("--speech", type=click.Path(path_type=Path), default=SPEECH, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
def main(cache: Path, speech: Path, out: Path) -> None:
    """Write the language models of the demo's languages."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for language in LANGUAGES:
        counts = count(sentences(language, cache, speech))
        words = unigrams(counts[0], language)
        probabilities, backoffs = smooth(counts, words)
        write_arpa(out / f"{language}.arpa.gz", probabilities, backoffs)
        sizes = ", ".join(f"{len(table):,}" for table in probabilities)
        logger.info("%s: %d words of text; n-grams: %s", language, sum(counts[0].values()), sizes)


if __name__ == "__main__":
    main()
