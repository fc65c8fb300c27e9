"""Word n-gram models in ARPA files: a writer for the made language, and a plain scorer of any."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path

Gram = tuple[str, ...]

_BEGIN, _END, _UNKNOWN = "<s>", "</s>", "<unk>"
_DISCOUNT = 0.5
_RARE = 1e-5
"""Probability of a word that is not in the model."""
_NEVER = -99.0


def write(path: Path, sentences: Iterable[Sequence[str]], *, order: int) -> int:
    """Estimate a backoff model by absolute discounting and write it.

    Returns:
        The number of n-grams.
    """
    counts = _count(sentences, order)
    probabilities, backoffs = _estimate(counts)
    lines = ["\\data\\", *(f"ngram {n + 1}={len(probabilities[n])}" for n in range(order))]
    for n, grams in enumerate(probabilities):
        lines += ["", f"\\{n + 1}-grams:"]
        for gram in sorted(grams):
            backoff = f"\t{log10(backoffs[gram]):.6f}" if gram in backoffs else ""
            value = grams[gram]
            lines.append(f"{log10(value) if value else _NEVER:.6f}\t{' '.join(gram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return sum(map(len, probabilities))


def _count(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        words = (_BEGIN, *sentence, _END)
        for n in range(order):
            counts[n].update(words[start : start + n + 1] for start in range(len(words) - n))
    return counts


def _estimate(counts: list[Counter[Gram]]) -> tuple[list[dict[Gram, float]], dict[Gram, float]]:
    """Return probabilities by order, and backoff weights by context."""
    unigrams = {gram: count for gram, count in counts[0].items() if gram != (_BEGIN,)}
    total = sum(unigrams.values())
    first = {gram: (1 - _RARE) * count / total for gram, count in unigrams.items()}
    probabilities = [first | {(_UNKNOWN,): _RARE, (_BEGIN,): 0.0}]
    backoffs: dict[Gram, float] = {}
    for grams in counts[1:]:
        lower, here = probabilities[-1], dict[Gram, float]()
        followers: dict[Gram, list[Gram]] = defaultdict(list)
        for gram in grams:
            followers[gram[:-1]].append(gram)
        for context, seen in followers.items():
            said = sum(grams[gram] for gram in seen)
            here |= {gram: (grams[gram] - _DISCOUNT) / said for gram in seen}
            # What the discount left goes to the words not seen here, as the shorter context has it.
            rest = 1.0 - sum(lower[gram[1:]] for gram in seen)
            backoffs[context] = _DISCOUNT * len(seen) / said / max(rest, 1e-9)
        probabilities.append(here)
    return probabilities, backoffs


@dataclass(frozen=True, slots=True)
class NGrams:
    """An ARPA file read into dictionaries: the definition, not made for speed."""

    order: int
    probabilities: dict[Gram, float]
    """log10, by n-gram."""
    backoffs: dict[Gram, float]
    """log10, by context; 0 where there is none."""

    @property
    def words(self) -> list[str]:
        """The words it knows."""
        special = (_BEGIN, _END, _UNKNOWN)
        return [gram[0] for gram in self.probabilities if len(gram) == 1 and gram[0] not in special]

    def log10(self, words: Sequence[str]) -> float:
        """Return the log10 probability of a whole sentence, its end included."""
        known = [word if (word,) in self.probabilities else _UNKNOWN for word in words]
        history = (_BEGIN, *known, _END)
        return sum(self._step(history[: n + 1]) for n in range(1, len(history)))

    def _step(self, gram: Gram) -> float:
        gram = gram[-self.order :]
        penalty = 0.0
        while gram not in self.probabilities and len(gram) > 1:
            penalty += self.backoffs.get(gram[:-1], 0.0)
            gram = gram[1:]
        return penalty + self.probabilities[gram]


def read(path: Path) -> NGrams:
    """Read what `write` wrote."""
    probabilities: dict[Gram, float] = {}
    backoffs: dict[Gram, float] = {}
    longest = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        value, _, rest = line.partition("\t")
        if not rest:
            continue
        words, _, backoff = rest.partition("\t")
        gram = tuple(words.split(" "))
        longest = max(longest, len(gram))
        probabilities[gram] = float(value)
        if backoff:
            backoffs[gram] = float(backoff)
    return NGrams(longest, probabilities, backoffs)
