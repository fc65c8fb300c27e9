"""The demo's language models, and the script that makes them."""

from pathlib import Path

import pytest
from examples.demo.language_models import END, START, UNKNOWN, count, smooth, write_arpa
from examples.demo.text import LANGUAGES, normalise

from mms_kernels.lm import open_lm

LM = Path(__file__).resolve().parents[2] / "examples" / "demo" / "lm"
TEXT = ["the cat sat", "the cat ran", "the dog sat", "a dog ran", "the cat sat down"] * 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    counts = count((sentence.split(), 1) for sentence in TEXT)
    words = {gram: n for gram, n in counts[0].items() if gram != (START,)} | {(UNKNOWN,): 1}
    total = sum(words.values())
    probabilities, backoffs = smooth(counts, {gram: n / total for gram, n in words.items()})
    path = tmp_path_factory.mktemp("lm") / "toy.arpa.gz"
    write_arpa(path, probabilities, backoffs)
    return open_lm(path), [gram[0] for gram in words]


@pytest.mark.parametrize("context", [[], ["the"], ["the", "cat"], ["cat", "the"], ["dog", "down"]])
def test_probabilities_of_the_next_word_add_up_to_one(model, context):
    lm, words = model
    before = lm.score(context, eos=False)
    total = sum(
        10 ** (lm.score(context + [word] * (word != END), eos=word == END) - before)
        for word in words
    )
    assert total == pytest.approx(1, abs=0.02)  # logarithms are written with three digits


def test_seen_word_orders_are_likelier(model):
    lm, _ = model
    assert lm.score(["the", "cat", "sat"]) > lm.score(["sat", "the", "cat"]) + 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_committed_models_are_small_and_in_the_demos_letters(language):
    lm = open_lm(LM / f"{language}.arpa.gz")
    assert lm.nbytes <= 3_000_000
    words = [word for word in lm.words() if not word.startswith("<")]
    assert len(words) > 20_000
    # Twice: a single letter alone is no text.
    assert all(normalise(f"{word} {word}", language) == f"{word} {word}" for word in words)
