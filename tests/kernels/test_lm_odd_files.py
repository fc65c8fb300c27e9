"""Odd ARPA files that KenLM loads: loaded as KenLM loads them."""

import pytest

from lm_models import convert
from mms_kernels.lm import KenlmModel, NgramModel

UNIGRAMS = ("-99\t<s>\t-0.5", "-1\t</s>", "-2\t<unk>", "-0.5\ta\t-0.25", "-0.75\tb\t-0.125")
BIGRAMS = ("-0.25\t<s> a", "-0.3\ta b", "-0.4\tb </s>")
SENTENCES = ("", "a", "b", "a b", "b a", "zz", "a zz b", "</s> a", "b b b")


def arpa(unigrams=UNIGRAMS, bigrams=BIGRAMS):
    head = f"\\data\\\nngram 1={len(unigrams)}\nngram 2={len(bigrams)}\n\n"
    grams = ("\n".join(section) for section in (unigrams, bigrams))
    return head + "\\1-grams:\n{}\n\n\\2-grams:\n{}\n\n\\end\\\n".format(*grams)


ODD = {
    "as it should be": arpa(),
    "</s> again": arpa((*UNIGRAMS, "-3\t</s>")),
    "</s> before": arpa(("-3\t</s>", *UNIGRAMS)),
    "<s> again": arpa((*UNIGRAMS, "-3\t<s>\t-0.9")),
    "<s> before": arpa(("-3\t<s>\t-0.9", *UNIGRAMS)),
    "<s> copied to </s>, as a popular recipe does": arpa(
        ("0\t<s>\t-0.5", "0\t</s>\t-0.5", *UNIGRAMS[1:])
    ),
    "<unk> again": arpa((*UNIGRAMS, "-3\t<unk>\t-0.1")),
    "<unk> before": arpa(("-3\t<unk>\t-0.1", *UNIGRAMS)),
    "<UNK> and <unk>": arpa((*UNIGRAMS, "-3\t<UNK>")),
    "<unk> with a context, again": arpa(
        (*UNIGRAMS[:2], "-2\t<unk>\t-0.7", *UNIGRAMS[3:], "-3\t<unk>\t-0.1"),
        (*BIGRAMS, "-1\t<unk> a"),
    ),
    "word again": arpa((*UNIGRAMS, "-3\ta\t-0.7")),
    "2-gram again": arpa(bigrams=(*BIGRAMS, "-0.9\ta b")),
    "2-gram before": arpa(bigrams=("-0.9\ta b", *BIGRAMS)),
    "three times, out of order": arpa(
        bigrams=("-0.1\tb a", *BIGRAMS, "-0.9\ta b", "-0.2\tb a", "-0.2\ta b")
    ),
    "no <unk>": arpa((*UNIGRAMS[:2], *UNIGRAMS[3:])),
    "numbers close to 0": arpa((*UNIGRAMS[:-1], "-1e-400\tb\t-1E-400")),
    "exponents": arpa((*UNIGRAMS[:-1], "-7.5E-1\tb\t-1.25e-01")),
    "no digit before the point": arpa((*UNIGRAMS[:-1], "-.75\tb\t-.125")),
    "back-off weight of 0 at the top": arpa(bigrams=(*BIGRAMS[:-1], "-0.4\tb </s>\t0")),
    "blank lines": arpa().replace("\na", "\n\na").replace("-0.5\ta", "\n \n-0.5\ta"),
    "CRLF": arpa().replace("\n", "\r\n"),
    "comments before": "# made by hand\n\n" + arpa(),
    "no line end": arpa().rstrip(),
    "no 2-grams": arpa(bigrams=()),
    "vertical tab in a word": arpa((*UNIGRAMS, "-1\tx\vy")),
    "no-break space in a word": arpa((*UNIGRAMS, "-1\tx\u00a0y")),
    "not UTF-8": arpa((*UNIGRAMS, "-1\tx\udcff")),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "odd.arpa"


def ours(path):
    convert(path, path.with_suffix(".lm"))
    return NgramModel.open(path.with_suffix(".lm"))


@pytest.mark.parametrize("odd", ODD)
def test_odd_file_scores_as_in_kenlm(path, odd):
    pytest.importorskip("kenlm")
    path.write_bytes(ODD[odd].encode("utf-8", "surrogateescape"))
    model, peer = ours(path), KenlmModel(path)
    for sentence in SENTENCES:
        for options in ({}, {"bos": False}, {"eos": False}):
            words = sentence.split()
            expected = peer.score(words, **options)
            assert model.score(words, **options) == pytest.approx(expected, abs=1e-5)


def test_repeated_entries_are_counted_in_a_warning(path, caplog):
    path.write_text(ODD["three times, out of order"])
    ours(path)
    (message,) = caplog.messages
    assert message == (
        f"{path}: 3 entries are of n-grams given before; the first entry of each counts, of <unk> "
        "the last, as in KenLM"
    )
    caplog.clear()
    path.write_text(arpa())
    ours(path)
    assert caplog.messages == []


def test_number_below_the_range_is_raised_to_it(path):
    path.write_text(arpa((*UNIGRAMS[:-1], "-2000\tb\t-0.125")))
    assert ours(path).score(["b"], bos=False, eos=False) == -1000.0


REFUSED = {
    "count too low": arpa().replace("ngram 2=3", "ngram 2=2"),
    "count too high": arpa().replace("ngram 2=3", "ngram 2=4"),
    "positive": arpa((*UNIGRAMS[:-1], "0.1\tb")),
    "nan": arpa((*UNIGRAMS[:-1], "nan\tb\t-0.1")),
    "no <s>": arpa(UNIGRAMS[1:], BIGRAMS[1:]),
    "no </s>": arpa((UNIGRAMS[0], *UNIGRAMS[2:]), BIGRAMS[:2]),
    "no end": arpa().replace("\\end\\", ""),
    "word that is no 1-gram": arpa(bigrams=(*BIGRAMS, "-1\tb zz")),
    "CR alone": arpa().replace("\n", "\r"),
}


@pytest.mark.parametrize("odd", REFUSED)
def test_file_that_kenlm_refuses_is_refused(path, odd):
    pytest.importorskip("kenlm")
    path.write_text(REFUSED[odd], newline="")
    with pytest.raises(ValueError):
        KenlmModel(path)
    with pytest.raises(ValueError, match=r"odd\.arpa: "):
        ours(path)
