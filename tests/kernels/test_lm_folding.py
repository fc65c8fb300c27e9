"""Models in another case or normalisation: as the twin in that of the vocabulary."""

import unicodedata

import numpy as np
import pytest

from lm_models import arpa, convert, estimate, prune, random_text
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.lm import KenlmModel, NgramModel, open_lm
from mms_kernels.spelling import Spelling

WORDS = ["école", "été", "l'eau", "abba", "ça", "né", "zoo", "i"]
TOKENS = ("<pad>", "|", *"abcdefghijklmnopqrstuvwxyz'éèçà")
SPELLING = Spelling(TOKENS, excluded={0})


def opened(tmp_path, models):
    path = tmp_path / "model.arpa"
    path.write_text(arpa(models), encoding="utf-8")
    return open_lm(path)


def with_words(models, change):
    """The same n-grams of other words."""
    special = {"<s>", "</s>", "<unk>"}
    return [
        {tuple(w if w in special else change(w) for w in gram): v for gram, v in model.items()}
        for model in models
    ]


TWINS = {
    "upper case": str.upper,
    "capitalised": str.capitalize,
    "decomposed": lambda word: unicodedata.normalize("NFD", word),
    "upper case, decomposed": lambda word: unicodedata.normalize("NFD", word.upper()),
    "apostrophes": lambda word: word.replace("'", "\u2019"),
}


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("twin", TWINS)
def test_model_acts_as_its_twin_in_the_form_of_the_vocabulary(tmp_path, twin, order):
    models = estimate(random_text(WORDS, 80, order), order)
    if order > 2:
        models = prune(models, 0.5, 7)
    plain = opened(tmp_path, models)
    twisted = opened(tmp_path, with_words(models, TWINS[twin]))
    assert any(twisted.score([word]) != plain.score([word]) for word in WORDS)
    folded, without, count = twisted.rewritten(SPELLING.written)
    assert (without, count) == ([], len(WORDS))
    assert folded.order == order
    for sentence in random_text([*WORDS, "unknown"], 50, 3):
        assert folded.score(sentence) == plain.score(sentence)


def test_model_in_the_form_of_the_vocabulary_is_not_copied(tmp_path):
    model = opened(tmp_path, estimate(random_text([*WORDS, "日本"], 60, 1), 3))
    same, without, count = model.rewritten(SPELLING.written)
    assert same is model
    assert (without, count) == (["日本"], len(WORDS) + 1)


def test_vocabulary_of_letters_and_marks_gets_decomposed_words(tmp_path):
    model = opened(tmp_path, estimate(random_text(["été", "abba"], 30, 1), 2))
    spelling = Spelling(("_", "|", *"abet", "\u0301"), excluded={0})
    folded, without, _ = model.rewritten(spelling.written)
    assert without == []
    assert folded.score(["e\u0301te\u0301"]) == model.score(["été"])


LINES = (
    *("-99\t<s>\t-0.5", "-1\t</s>", "-2\t<unk>", "-0.9\tnew\t-0.1", "-1.2\tNew\t-0.3"),
    *("-0.8\tYork\t-0.25", "-0.7\tthe"),
)
PAIRS = ("-0.2\tNew York\t-0.4", "-0.3\tnew the\t-0.6", "-0.9\tNew the\t-0.7", "-0.4\tYork </s>")
TRIPLES = ("-0.1\tNew York </s>", "-0.15\tnew the </s>", "-0.05\tNew the </s>")


def test_twins_within_a_model_are_merged_by_the_best(tmp_path):
    counts = "".join(f"ngram {n}={len(x)}\n" for n, x in enumerate((LINES, PAIRS, TRIPLES), 1))
    sections = "".join(
        f"\n\\{n}-grams:\n" + "\n".join(lines) + "\n"
        for n, lines in enumerate((LINES, PAIRS, TRIPLES), 1)
    )
    path = tmp_path / "cased.arpa"
    path.write_text(f"\\data\\\n{counts}{sections}\n\\end\\\n")
    folded, without, count = open_lm(path).rewritten(SPELLING.written)
    assert (without, count) == ([], 4)
    score = folded.score
    ends = {"bos": False, "eos": False}
    assert score(["new"], **ends) == pytest.approx(-0.9)
    assert score(["new", "york"], **ends) == pytest.approx(-0.9 - 0.2)
    assert score(["new", "the"], **ends) == pytest.approx(-0.9 - 0.3)
    assert score(["new", "the"], bos=False) == pytest.approx(-0.9 - 0.3 - 0.05)
    assert score(["new", "new"], **ends) == pytest.approx(-0.9 - 0.1 - 0.9)  # of the best "new"
    assert score(["york", "new"], **ends) == pytest.approx(-0.8 - 0.25 - 0.9)


def test_tokens_of_a_model_are_folded_too(tmp_path):
    models = estimate(random_text(["é", "a", "|"], 40, 1), 3)
    plain = opened(tmp_path, models)
    twisted = opened(
        tmp_path, with_words(models, lambda w: unicodedata.normalize("NFD", w).upper())
    )
    folded, without, count = twisted.rewritten(SPELLING.written_tokens)
    assert (without, count) == ([], 3)
    assert folded.score(["é", "a", "|", "é"]) == plain.score(["é", "a", "|", "é"])


def test_words_that_are_not_utf8_are_kept(tmp_path):
    path = tmp_path / "model.arpa"
    text = arpa(estimate(random_text(["ABBA", "x\udcff"], 30, 1), 2))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    folded, without, _ = open_lm(path).rewritten(SPELLING.written)
    assert without == ["x\udcff"]
    assert {"abba", "x\udcff"} < set(folded.words())


def test_wrong_number_of_words_is_refused(tmp_path):
    model = opened(tmp_path, estimate(random_text(["a"], 9, 1), 2))
    for words in (b"", b"a\n", b"a\nb\nc\nd"):
        with pytest.raises(ValueError, match=r"words, the language model has 4|no line end"):
            model.model.renamed(words)


def test_beam_search_uses_the_folded_model(tmp_path):
    """Of two texts that sound alike, the one in the model, which is written in capitals."""
    models = estimate([["AB"]] * 3 + [["É"]], 2)
    folded, _, _ = opened(tmp_path, models).rewritten(SPELLING.written)
    logits = np.full((4, len(TOKENS)), -20.0, np.float32)
    for frame, letters in enumerate(("ac", "bd")):
        for letter in letters:
            logits[2 * frame, TOKENS.index(letter)] = 0.0
        logits[2 * frame + 1, 0] = 0.0
    options = BeamOptions(lm_weight=1.0, separator=1)
    best = BeamDecoder(options, lm=folded, tokens=TOKENS).decode(
        logits[None], np.array([4], np.int64)
    )[0][0]
    assert "".join(TOKENS[token] for token in best.tokens) == "ab"


def test_kenlm_file_is_folded_by_its_list_of_words(tmp_path, monkeypatch):
    pytest.importorskip("kenlm")
    models = estimate(random_text(WORDS, 60, 1), 3)
    path = tmp_path / "upper.arpa"
    path.write_text(arpa(with_words(models, str.upper)), encoding="utf-8")
    model = KenlmModel(path)
    assert model.words() == []  # KenLM keeps no words of an ARPA file
    upper = ["<unk>", "<s>", "</s>", *map(str.upper, WORDS), "日本"]
    monkeypatch.setattr(KenlmModel, "words", lambda _: upper)
    folded, without, count = model.rewritten(SPELLING.written)
    assert (without, count) == (["日本"], len(WORDS) + 1)
    convert(path, tmp_path / "lm")
    compact, _, _ = NgramModel.open(tmp_path / "lm").rewritten(SPELLING.written)
    for sentence in random_text([*WORDS, "unknown"], 30, 3):
        assert folded.score(sentence) == pytest.approx(compact.score(sentence), abs=1e-5)


def test_words_of_a_kenlm_binary_are_read_from_its_end(tmp_path):
    """The package has no writer of binaries; their words are as `build_binary` leaves them."""
    pytest.importorskip("kenlm")
    path = tmp_path / "upper.arpa"
    path.write_text(arpa(estimate(random_text(WORDS, 60, 1), 2)), encoding="utf-8")
    model = KenlmModel(path)
    words = ["<unk>", "</s>", "ABBA", "É"]
    head = b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(range(256)) * 20
    path.write_bytes(head + "\0".join([*words, ""]).encode())
    assert model.words() == words
    path.write_bytes(head)
    assert model.words() == []
