import math

import pytest

from mms_bench.ctc import arpa
from mms_bench.ctc.sentences import sentences

TRAINING = sentences(200, seed=0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("arpa") / "words.arpa"
    arpa.write(path, TRAINING, order=3)
    return path


@pytest.fixture(scope="module")
def model(path):
    return arpa.read(path)


def test_the_header_counts_what_follows(path, tmp_path):
    text = path.read_text()
    total = 0
    for n in (1, 2, 3):
        _, _, block = text.partition(f"\\{n}-grams:\n")
        lines = block.partition("\n\n")[0].splitlines()
        assert f"ngram {n}={len(lines)}\n" in text
        total += len(lines)
        assert all(len(line.split("\t")[1].split(" ")) == n for line in lines)
    assert arpa.write(tmp_path / "again.arpa", TRAINING, order=3) == total
    assert (tmp_path / "again.arpa").read_text() == text


def test_it_knows_the_words_it_was_made_of(model):
    assert set(model.words) == {word for sentence in TRAINING for word in sentence}


@pytest.mark.parametrize("history", [(), (TRAINING[0][0],), TRAINING[1][:2], ("no-such-word",)])
def test_the_words_after_a_history_have_probability_one(model, history):
    words = {gram[0] for gram in model.probabilities if len(gram) == 1} - {"<s>"}
    context = ("<s>", *history)
    known = tuple(word if (word,) in model.probabilities else "<unk>" for word in context)
    total = sum(10 ** model._step((*known, word)) for word in words)
    assert total == pytest.approx(1, abs=1e-3)


def test_what_was_seen_is_likelier_than_what_was_not(model):
    seen = TRAINING[0]
    assert model.log10(seen) > model.log10(seen[::-1]) > model.log10(("zzz",) * len(seen))
    assert math.isfinite(model.log10(()))


def test_kenlm_agrees(path, model):
    kenlm = pytest.importorskip("kenlm")
    other = kenlm.Model(str(path))
    for words in (*sentences(30, seed=9), ("zzz", *TRAINING[0]), ()):
        assert other.score(" ".join(words)) == pytest.approx(model.log10(words), abs=1e-4)
