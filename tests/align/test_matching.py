"""Matching of letters: the best pairs, and the passages that one side lacks."""

import numpy as np
import pytest

from mms_engine.align import matching
from mms_engine.align.matching import ANCHOR, Gap, find_anchors, match_letters

EQUAL, DIFFERENT, INDEL, OPEN, EXTEND = 20, -20, -20, -120, -1


def letters(size: int, random: np.random.Generator, alphabet: int = 20) -> np.ndarray:
    shares = 1.0 / np.arange(2, alphabet + 2)
    return random.choice(alphabet, size, p=shares / shares.sum())


def misheard(text: np.ndarray, errors: float, random: np.random.Generator) -> np.ndarray:
    found: list[int] = []
    for letter in text.tolist():
        chance = random.random()
        if chance < errors / 4:
            continue
        found.append(letter if chance > 3 * errors / 4 else int(random.integers(20)))
        if chance > 1 - errors / 4:
            found.append(int(random.integers(20)))
    return np.array(found, np.int64)


def best_score(text: np.ndarray, decoded: np.ndarray) -> int:
    """The best score, cell by cell with every length of gap."""
    scores = np.full((len(text) + 1, len(decoded) + 1), -(1 << 30))
    scores[0, 0] = 0
    for i in range(len(text) + 1):
        for j in range(len(decoded) + 1):
            steps = [scores[i, j]]
            if i and j:
                pair = EQUAL if text[i - 1] == decoded[j - 1] else DIFFERENT
                steps.append(scores[i - 1, j - 1] + pair)
            steps += [scores[i - n, j] + max(n * INDEL, OPEN + n * EXTEND) for n in range(1, i + 1)]
            steps += [scores[i, j - n] + max(n * INDEL, OPEN + n * EXTEND) for n in range(1, j + 1)]
            scores[i, j] = max(steps)
    return int(scores[-1, -1])


def score_of(text: np.ndarray, decoded: np.ndarray, partner: np.ndarray) -> int:
    known = np.flatnonzero(partner >= 0)
    pairs = np.where(text[known] == decoded[partner[known]], EQUAL, DIFFERENT)
    total = int(pairs.sum())
    rows = np.diff([-1, *known, len(text)]) - 1
    columns = np.diff([-1, *partner[known], len(decoded)]) - 1
    for n in [*rows.tolist(), *columns.tolist()]:
        total += max(n * INDEL, OPEN + n * EXTEND) if n else 0
    return total


def test_pairs_have_the_best_score() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        text = letters(int(random.integers(0, 30)), random, 4)
        decoded = letters(int(random.integers(0, 30)), random, 4)
        found = matching._Matcher(text, decoded)
        found.match(slice(0, len(text)), slice(0, len(decoded)), ANCHOR)
        assert score_of(text, decoded, found.partner) == best_score(text, decoded)


@pytest.mark.parametrize("errors", [0.0, 0.1, 0.2, 0.3])
def test_passages_of_one_side_are_gaps(errors: float) -> None:
    random = np.random.default_rng(1)
    first, other, last = (letters(150, random) for _ in range(3))
    a, b, c = (misheard(part, errors, random) for part in (first, letters(150, random), last))
    for text, decoded, gap in [
        ([first, other, last], [a, c], Gap(150, 300, len(a), len(a))),
        ([first, last], [a, b, c], Gap(150, 150, len(a), len(a) + len(b))),
        ([first, other, last], [a, b, c], Gap(150, 300, len(a), len(a) + len(b))),
    ]:
        (found,) = match_letters(np.concatenate(text), np.concatenate(decoded)).gaps
        for name in ("text_start", "text_end", "decoded_start", "decoded_end"):
            assert abs(getattr(found, name) - getattr(gap, name)) <= (12 if errors else 2), found


@pytest.mark.parametrize("errors", [0.1, 0.3])
def test_anchors_change_nothing_where_the_text_fits(
    errors: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(2)
    text = letters(1500, random)
    decoded = misheard(text, errors, random)
    exact = match_letters(text, decoded)
    monkeypatch.setattr(matching, "_EXACT_CELLS", 2000)
    found = match_letters(text, decoded)
    assert exact.gaps == found.gaps == ()
    assert np.mean(found.partner == exact.partner) > 0.98


def test_anchors_are_unique_and_in_order() -> None:
    random = np.random.default_rng(3)
    a, b, c, d = (letters(40, random) for _ in range(4))
    text, decoded = np.concatenate([a, b, c, d, a]), np.concatenate([c, b, d])
    runs = find_anchors(text, decoded, 8)
    assert [(i, j) for i, j, _ in runs] in ([(40, 40), (120, 80)], [(80, 0), (120, 80)])
    for i, j, size in runs:
        np.testing.assert_array_equal(text[i : i + size], decoded[j : j + size])


def test_text_of_repeated_passages_is_matched() -> None:
    """No n-gram is unique where one passage comes over and over."""
    random = np.random.default_rng(4)
    text = np.tile(letters(700, random), 12)
    decoded = misheard(text, 0.1, random)
    found = match_letters(text, decoded)
    assert found.gaps == ()
    assert found.equal.mean() > 0.88


def test_unrelated_sequences_are_one_gap() -> None:
    random = np.random.default_rng(5)
    found = match_letters(letters(400, random), letters(500, random))
    assert sum(gap.text_size for gap in found.gaps) > 380
    assert sum(gap.decoded_size for gap in found.gaps) > 480


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0), (0, 50), (50, 0), (1, 1)])
def test_short_and_empty_sequences(size: tuple[int, int]) -> None:
    found = match_letters(np.arange(size[0]), np.arange(size[1]))
    assert (found.partner >= 0).sum() == min(size)
    assert len(found.gaps) == (max(size) >= matching.MIN_GAP)
