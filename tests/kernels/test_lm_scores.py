"""The n-gram automaton against the definition, and against KenLM."""

import concurrent.futures
import math

import numpy as np
import pytest

from lm_models import BOS, EOS, UNK, arpa, convert, estimate, prune, random_text, slow_score
from mms_kernels.lm import KenlmModel, NgramModel

WORDS = [f"w{number}" for number in range(11)] + ["é日"]
TOLERANCE = 1e-5


def make(tmp_path, models, name="model", **options):
    source = tmp_path / f"{name}.arpa"
    source.write_bytes(arpa(models, **options).encode())
    convert(source, tmp_path / name)
    return NgramModel.open(tmp_path / name), source


def load_kenlm(path):
    kenlm = pytest.importorskip("kenlm")
    config = kenlm.Config()
    config.show_progress = False
    return kenlm.Model(str(path), config)


def models_of(order, kind, seed):
    models = estimate(random_text(WORDS, 80, seed), order)
    if kind != "full":
        prune(models, 0.4, seed, keep_suffixes=kind == "pruned")
    return models


def sentences(seed):
    """Of the model's words and of others, repeated n-grams among them; the empty one too."""
    return [[], ["unknown"], *random_text([*WORDS, "unknown"], 30, seed)]


CASES = [
    (order, kind, seed)
    for order in (1, 2, 3, 4, 5, 6, 7, 20)
    for seed, kind in enumerate(["full", "pruned", "lacking suffixes"])
]


@pytest.mark.parametrize(("order", "kind", "seed"), CASES)
def test_scores_are_those_of_the_definition(tmp_path, order, kind, seed):
    models = models_of(order, kind, seed)
    model, _ = make(tmp_path, models)
    assert model.order == order
    assert model.ngrams == sum(map(len, models))
    for words in sentences(seed + 100):
        for bos, eos in [(False, False), (True, False), (False, True), (True, True)]:
            expected = slow_score(models, words, bos=bos, eos=eos)
            assert model.score(words, bos=bos, eos=eos) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(("order", "kind", "seed"), [case for case in CASES if 1 < case[0] < 7])
def test_scores_are_those_of_kenlm(tmp_path, order, kind, seed):
    model, source = make(tmp_path, models_of(order, kind, seed))
    kenlm_model = load_kenlm(source)
    adaptor = KenlmModel(source)
    assert adaptor.order == order
    for words in sentences(seed + 100):
        for bos, eos in [(False, False), (True, False), (False, True), (True, True)]:
            expected = kenlm_model.score(" ".join(words), bos=bos, eos=eos)
            assert model.score(words, bos=bos, eos=eos) == pytest.approx(expected, abs=TOLERANCE)
            assert adaptor.score(words, bos=bos, eos=eos) == pytest.approx(expected, abs=TOLERANCE)


def walk(model, words):
    """The state after a sentence's start."""
    state = model.start
    for word in words:
        _, state = model.score(state, model.unit(word))
    return state


@pytest.mark.parametrize("kind", ["full", "pruned", "lacking suffixes"])
def test_states_are_equal_where_kenlms_are(tmp_path, kind):
    """So they are as short as they can be, and as long as they must."""
    kenlm = pytest.importorskip("kenlm")
    model, source = make(tmp_path, models_of(4, kind, 3))
    kenlm_model = load_kenlm(source)
    ours, theirs = [], []
    for words in sentences(7):
        state = kenlm.State()
        kenlm_model.BeginSentenceWrite(state)
        for word in words:
            following = kenlm.State()
            kenlm_model.BaseScore(state, word, following)
            state = following
        ours.append(walk(model.model, words))
        theirs.append(state)
    pairs = [(i, j) for i in range(len(ours)) for j in range(i)]
    assert len({(ours[i] == ours[j], theirs[i] == theirs[j]) for i, j in pairs}) == 2
    assert all((ours[i] == ours[j]) == (theirs[i] == theirs[j]) for i, j in pairs)


def test_equal_states_have_equal_futures(tmp_path):
    models = models_of(4, "lacking suffixes", 5)
    model, _ = make(tmp_path, models)
    seen = {}
    for words in sentences(8):
        state = walk(model.model, words)
        other = seen.setdefault(state, words)
        for more in sentences(9)[:10]:
            after = slow_score(models, words + more) - slow_score(models, words, eos=False)
            before = slow_score(models, other + more) - slow_score(models, other, eos=False)
            assert after == pytest.approx(before, abs=1e-9)
    assert len(seen) < len(sentences(8))


def test_every_context_of_a_state_matters(tmp_path):
    """A state is a context with an extension or a weight; others fall back to a shorter one."""
    models = [
        {(BOS,): [-99.0, 0.0], (EOS,): [-1.0, 0.0], (UNK,): [-2.0, 0.0], ("a",): [-1.0, 0.0],
         ("b",): [-1.0, 0.0]},
        {("a", "b"): [-0.5, 0.0], ("b", "a"): [-0.5, -0.25], ("b", "b"): [-0.5, 0.0]},
        {("b", "b", "b"): [-0.125, 0.0]},
    ]  # fmt: skip
    model, _ = make(tmp_path, models)
    assert model.states == 1 + 2 + 2  # None, a, b, b a for its weight, b b for its extension.
    assert model.model.start == 0
    assert walk(model.model, ["a", "b"]) == walk(model.model, ["b"])
    assert walk(model.model, ["b", "a"]) != walk(model.model, ["a"])
    assert walk(model.model, ["b", "b", "b"]) == walk(model.model, ["b", "b"])


def test_model_without_unk_gives_kenlms_default(tmp_path):
    models = models_of(3, "full", 1)
    del models[0][(UNK,)]
    model, source = make(tmp_path, models)
    assert model.score(["x"], bos=False, eos=False) == -100.0
    assert not model.knows("x")
    assert not model.knows(UNK)
    assert model.knows("w0")
    expected = load_kenlm(source).score("w0 x w1")
    assert model.score(["w0", "x", "w1"]) == pytest.approx(expected, abs=TOLERANCE)


def test_unknown_word_within_ngrams(tmp_path):
    models = models_of(3, "full", 1)
    models[0][(UNK,)][1] = -0.5
    models[1][(UNK, "w1")] = [-0.25, 0.0]
    model, source = make(tmp_path, models)
    kenlm_model = load_kenlm(source)
    for words in (["x", "w1"], ["w0", "x", "w1", "y", "y"]):
        expected = kenlm_model.score(" ".join(words))
        assert model.score(words) == pytest.approx(expected, abs=TOLERANCE)


def test_characters_as_units(tmp_path):
    """A 7-gram of characters, as MMS has them for languages without word separators."""
    characters = list("日本語のかな。々")
    models = estimate(random_text(characters, 200, 2), 7)
    model, _ = make(tmp_path, models)
    for words in random_text(characters, 50, 3):
        assert model.score(words) == pytest.approx(slow_score(models, words), abs=2e-5)


def test_threads_share_a_model(tmp_path):
    _, source = make(tmp_path, models_of(4, "pruned", 2))
    models = [NgramModel.open(tmp_path / "model")]
    pytest.importorskip("kenlm")
    models.append(KenlmModel(source))
    for model in models:
        texts = sentences(4) * 5
        expected = [model.score(words) for words in texts]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(model.score, texts)) == expected


def test_states_and_units_out_of_range(tmp_path):
    model, source = make(tmp_path, models_of(2, "full", 0))
    pytest.importorskip("kenlm")
    for each in (model.model, KenlmModel(source).model):
        with pytest.raises(ValueError, match=r"^state is not of this model$"):
            each.score(2**31, 0)
        with pytest.raises(ValueError, match=r"^unit is not of this model$"):
            each.score(0, 2**31)
        with pytest.raises(ValueError, match=r"^state is not of this model$"):
            each.finish(2**31)


def test_kenlm_states_that_are_equal_have_one_number(tmp_path):
    pytest.importorskip("kenlm")
    _, source = make(tmp_path, models_of(3, "full", 0))
    model = KenlmModel(source).model
    assert walk(model, ["w1", "w2", "w3"]) == walk(model, ["w1", "w2", "w3"])
    assert walk(model, ["x"]) == walk(model, ["y"]) == 0
    assert model.unit("w1") == model.unit("w1") != model.unit("w2")
    assert model.unit("x") == model.unit("y")


def test_logarithms_are_to_the_base_of_ten(tmp_path):
    models = estimate([["a"]] * 3, 1, discount=0.0)
    model, _ = make(tmp_path, models)
    # Of nine: three times <s>, a and </s>.
    expected = 2 * math.log10(3 / 9)
    assert model.score(["a"]) == pytest.approx(expected, abs=1e-6)
    assert np.isclose(10**expected, 1 / 9)
