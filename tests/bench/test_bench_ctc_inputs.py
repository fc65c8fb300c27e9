import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.bench_samples import make_context
from mms_bench.ctc.posteriors import BOUNDARY, DENSITY, TOKENS, posteriors, random_labels
from mms_bench.ctc.scores import collapse
from mms_bench.ctc.sentences import sentences, spoken, vocabulary, words_of, write_phrases
from mms_bench.errors import NotHere
from mms_bench.suites.ctc import inputs
from mms_engine.text.vocabulary import BLANK


@pytest.mark.parametrize("shape", inputs.SHAPES)
@pytest.mark.parametrize("vocab", [32, 1000])
def test_posteriors_are_log_probabilities_that_a_seed_decides(shape, vocab):
    labels = random_labels(100, vocab, seed=1)
    found = posteriors(labels, 400, vocab, shape, seed=2)
    assert (found.shape, found.dtype) == ((400, vocab), np.float32)
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(found, posteriors(labels, 400, vocab, shape, seed=2))
    assert not np.array_equal(found, posteriors(labels, 400, vocab, shape, seed=3))


@pytest.mark.parametrize("shape", inputs.SHAPES)
def test_the_labels_are_what_is_said(shape):
    labels = spoken(2000, seed=0)
    found = posteriors(labels, 2000, len(TOKENS), shape, seed=0)
    assert collapse(found.argmax(axis=1)).tolist() == labels


def test_peaky_is_peaky_and_diffuse_is_not():
    labels = spoken(2000, seed=0)
    near = [
        float((posteriors(labels, 2000, len(TOKENS), shape, seed=0) > -5).sum(axis=1).mean())
        for shape in inputs.SHAPES
    ]
    assert 1.0 < near[0] < 2.0
    assert 20 < near[1] < 32


def test_a_repeat_has_its_blank_even_where_there_is_no_room_to_spare():
    labels = [5, 5, 6, 5]
    found = posteriors(labels, 5, 8, "peaky", seed=0)
    assert found.argmax(axis=1).tolist() == [5, BLANK, 5, 6, 5]
    with pytest.raises(ValueError, match="4 labels do not fit into 4 frames"):
        posteriors(labels, 4, 8, "peaky", seed=0)


def test_no_labels_are_blanks():
    assert not posteriors([], 10, 8, "peaky", seed=0).argmax(axis=1).any()


def test_every_seed_speaks_the_same_language_but_says_something_else():
    first, second = (sentences(300, seed=seed) for seed in (1, 2))
    assert first != second
    assert first == sentences(300, seed=1)
    pairs = [set(itertools.chain(*map(itertools.pairwise, said))) for said in (first, second)]
    assert len(pairs[0] & pairs[1]) > 0.2 * len(pairs[0])
    assert all(4 <= len(sentence) <= 12 for sentence in first)


def test_labels_are_spelled_words():
    labels = spoken(4000, seed=5)
    assert round(4000 * DENSITY) - 10 < len(labels) <= round(4000 * DENSITY)
    assert labels[-1] == BOUNDARY
    assert BLANK not in labels
    said = list(itertools.chain(*sentences(63, seed=5)))
    words = words_of(labels)
    assert words == said[: len(words)]
    assert set(words) <= set(vocabulary())
    assert words_of([BOUNDARY, BOUNDARY]) == []


def test_phrases_are_as_many_as_asked_for_and_all_different(tmp_path):
    write_phrases(tmp_path / "phrases.txt", 1000, seed=0)
    phrases = (tmp_path / "phrases.txt").read_text().splitlines()
    assert len(set(phrases)) == len(phrases) == 1000
    assert {len(phrase.split()) for phrase in phrases} == {1, 2, 3}


def test_inputs_are_made_once_and_rows_differ(tmp_path):
    lines = []
    context = make_context(tmp_path, ("ours-scalar",), lines=lines)
    path = inputs.made(context, "peaky", 60, rows=3)
    assert inputs.made(context, "peaky", 60, rows=3) == path
    assert lines == ["making peaky-32-60-3"]
    rows = np.load(path)
    assert rows.shape == (3, 60, 32)
    assert not np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[:1], np.load(inputs.emission(context, "peaky", 60)))


def test_there_are_no_real_posteriors_without_a_bundle(tmp_path):
    context = make_context(tmp_path, ("ours-scalar",))
    context = replace(context, setup=replace(context.setup, bundle=""))
    with pytest.raises(NotHere, match="mms-export --model demo"):
        inputs.emission(context, "real", 60)


def test_real_posteriors_come_in_rows_and_the_clips_follow_the_speech(tmp_path, monkeypatch):
    context = make_context(tmp_path, ("ours-scalar",))
    found = np.arange(600 * 3, dtype=np.float32).reshape(600, 3)
    monkeypatch.setattr(inputs, "_recognised", lambda _: found)
    rows = np.load(inputs.emission(context, "real", 1000))
    assert rows.shape == (4, inputs.REAL_ROW, 3)
    assert np.array_equal(rows.reshape(-1, 3)[600:], found[:400])
    (tmp_path / "clips").mkdir()
    for name in ("fra_b.flac", "eng_c.flac", "eng_a.flac"):
        (tmp_path / "clips" / name).touch()
    names = [file.name for file in inputs._clips(context, "eng")]
    assert names == ["speech.flac", "eng_a.flac", "eng_c.flac", "fra_b.flac"]
    named = replace(context, options=replace(context.options, audio=(tmp_path / "own.flac",)))
    assert inputs._clips(named, "eng") == [tmp_path / "own.flac"]
