"""ARPA files as they come, damaged ones, and the compact file."""

import bz2
import gzip
import io
import lzma
import struct
import sys

import numpy as np
import pytest

from lm_models import arpa, convert, estimate, random_text
from mms_kernels.arpa import convert_arpa
from mms_kernels.lm import KenlmModel, NgramModel, open_lm
from peak_memory import begin_peak, peak_bytes

WORDS = [f"w{number}" for number in range(8)]
MODELS = estimate(random_text(WORDS, 60, 1), 3)
SENTENCE = ["w1", "w5", "w2", "zzz", "w3"]


def converted(tmp_path, content):
    source = tmp_path / "source.arpa"
    source.write_bytes(content)
    convert(source, tmp_path / "model")
    return (tmp_path / "model").read_bytes()


PLAIN = arpa(MODELS).encode()
FORMS = {
    "spaces": arpa(MODELS, separator="  ").encode(),
    "crlf": arpa(MODELS, newline="\r\n").encode(),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "weights of 0 written": arpa(MODELS, always_backoff=True).encode(),
    "gzip": gzip.compress(PLAIN),
    "bzip2": bz2.compress(PLAIN),
    "xz": lzma.compress(PLAIN),
    "gzip of two members": gzip.compress(PLAIN[:500]) + gzip.compress(PLAIN[500:]),
    "text before": b"made by hand\n\n" + PLAIN,
    "text after": PLAIN + b"\nmore\n",
    "no line end": PLAIN.rstrip(),
    "spaces in counts": PLAIN.replace(b"ngram 2=", b"ngram  2 = "),
    "blanks at line ends": PLAIN.replace(b"\n", b" \t\n"),
    "exponents": PLAIN.replace(b"-2.5\t<unk>", b"-25e-1\t<unk>"),
    "<UNK>": PLAIN.replace(b"<unk>", b"<UNK>"),
    "plus and many digits": PLAIN.replace(b"-2.5\t<unk>", b"-2.5000000000000000000000\t<unk>"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_model(tmp_path, form):
    assert converted(tmp_path, FORMS[form]) == converted(tmp_path, PLAIN)


def test_sequence_of_ngrams_does_not_matter(tmp_path):
    expected = converted(tmp_path, PLAIN)
    reordered = [MODELS[0], *(dict(sorted(model.items(), reverse=True)) for model in MODELS[1:])]
    assert converted(tmp_path, arpa(reordered).encode()) == expected


def test_minus_infinity_is_minus_99(tmp_path):
    infinite = PLAIN.replace(b"-99\t<s>", b"-inf\t<s>")
    assert infinite != PLAIN
    assert converted(tmp_path, infinite) == converted(tmp_path, PLAIN)


def edited(old, new):
    assert old in PLAIN
    return PLAIN.replace(old, new, 1)


def with_line(section, line):
    """A further line at the start of a section, without its count."""
    return edited(section + b"\n", section + b"\n" + line + b"\n")


N1, N2, N3 = map(len, MODELS)
START2 = 3 + 2 + N1 + 3  # The line before the first 2-gram.
EXPECTED_2 = "a probability, 2 words and perhaps a back-off weight were expected,"
DAMAGED = {
    "no data": (b"hello\n", "there is no \\data\\: this is not an ARPA file"),
    "empty": (b"", "there is no \\data\\: this is not an ARPA file"),
    "not an arpa": (
        b"x\n" * 5000,
        "line 1000: there is no \\data\\ so far: this is not an ARPA file",
    ),
    "no counts": (b"\\data\\\n\n\\1-grams:\n", "line 3: \\data\\ gives no counts"),
    "order missing": (
        edited(b"ngram 2=", b"ngram 4="),
        f"line 3: the count of the 2-grams was expected, not 'ngram 4={N2}'",
    ),
    "not a count": (
        edited(f"ngram 2={N2}".encode(), b"ngram 2=many"),
        "line 3: 'ngram 2=many' gives no number of n-grams up to 4294967280",
    ),
    "count of 2^63": (
        edited(f"ngram 2={N2}".encode(), b"ngram 2=9223372036854775808"),
        "line 3: 'ngram 2=9223372036854775808' gives no number of n-grams up to 4294967280",
    ),
    "huge count": (
        edited(f"ngram 2={N2}".encode(), b"ngram 2=4000000000"),
        f"line {START2 + N2 + 2}: there are only {N2} 2-grams, \\data\\ says 4000000000",
    ),
    "count too low": (
        edited(f"ngram 2={N2}".encode(), f"ngram 2={N2 - 1}".encode()),
        f"line {START2 + N2}: there are more 2-grams, \\data\\ says {N2 - 1}",
    ),
    "sections exchanged": (
        edited(b"\\2-grams:", b"\\3-grams:"),
        f"line {START2}: '\\2-grams:' was expected, not '\\3-grams:'",
    ),
    "no end": (
        edited(b"\\end\\", b"\\4-grams:"),
        f"line {START2 + N2 + 2 + N3 + 2}: '\\end\\' was expected, not '\\4-grams:'",
    ),
    "cut short": (
        PLAIN[: PLAIN.index(b"\\2-grams:")],
        f"the file ends after line {START2 - 1}, before \\end\\",
    ),
    "nan": (
        edited(b"-2.5\t<unk>", b"nan\t<unk>"),
        f"line {5 + N1 + 1}: 'nan' is not a log10 probability",
    ),
    "positive": (
        edited(b"-2.5\t<unk>", b"0.5\t<unk>"),
        f"line {5 + N1 + 1}: the log10 probability '0.5' is positive",
    ),
    "plus infinity": (
        edited(b"-2.5\t<unk>", b"inf\t<unk>"),
        f"line {5 + N1 + 1}: 'inf' is not a log10 probability",
    ),
    "weight too high": (
        edited(b"-2.5\t<unk>", b"-2.5\t<unk>\t1e39"),
        f"line {5 + N1 + 1}: '1e39' is not a back-off weight",
    ),
    "number with a comma": (
        edited(b"-2.5\t<unk>", b"-2,5\t<unk>"),
        f"line {5 + N1 + 1}: '-2,5' is not a log10 probability",
    ),
    "weight is no number": (
        edited(b"-2.5\t<unk>", b"-2.5\t<unk>\tx"),
        f"line {5 + N1 + 1}: 'x' is not a back-off weight",
    ),
    "too few words": (
        with_line(b"\\2-grams:", b"-1\tw1"),
        f"line {START2 + 1}: {EXPECTED_2} not '-1\tw1'",
    ),
    "too many words": (
        with_line(b"\\2-grams:", b"-1" + b" w1" * 50),
        f"line {START2 + 1}: {EXPECTED_2} not '-1 w1 w1 w1 w1 w1 w1 w1 w1 w1 w1 w1 w1 w...'",
    ),
    "unknown word": (
        with_line(b"\\2-grams:", b"-1\tw1 new"),
        f"line {START2 + 1}: the word new is not among the 1-grams",
    ),
    "no context": (
        with_line(b"\\3-grams:", b"-1\tw1 <s> w1"),
        f"line {START2 + N2 + 3}: the first 2 words of this 3-gram are not among the 2-grams",
    ),
    "weight at the top": (
        with_line(b"\\3-grams:", b"-1\tw1 w2 w3\t-0.5"),
        f"line {START2 + N2 + 3}: an n-gram of the highest order has a back-off weight",
    ),
    "long line": (
        with_line(b"\\1-grams:", b"-1\t" + b"x" * 70_000),
        "line 7: longer than 65536 bytes",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_text_is_one_error_that_names_the_line(tmp_path, damage):
    content, message = DAMAGED[damage]
    with pytest.raises(ValueError) as caught:
        converted(tmp_path, content)
    assert str(caught.value) == f"{tmp_path / 'source.arpa'}: {message}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.arpa"]


@pytest.mark.parametrize("word", ["<s>", "</s>"])
def test_model_without_a_sentence(tmp_path, word):
    models = [{gram: values for gram, values in MODELS[0].items() if gram != (word,)}]
    with pytest.raises(ValueError, match=f"there is no 1-gram {word}$"):
        converted(tmp_path, arpa(models).encode())


def test_order_above_the_limit(tmp_path):
    counts = "".join(f"ngram {order}=1\n" for order in range(1, 34))
    with pytest.raises(ValueError, match=r"line 34: the order is above 32$"):
        converted(tmp_path, f"\\data\\\n{counts}".encode())


@pytest.mark.parametrize("size", [10, 200, -4])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_file_cut_short(tmp_path, pack, size):
    with pytest.raises(ValueError, match=r"arpa: the compressed file is damaged or truncated"):
        converted(tmp_path, pack(PLAIN)[:size])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_file_with_a_damaged_byte(tmp_path, pack):
    content = bytearray(pack(PLAIN))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ValueError, match=r"source\.arpa: "):
        converted(tmp_path, bytes(content))


def test_counts_take_no_memory(tmp_path):
    """Four billion n-grams promised, none there."""
    before = begin_peak()
    with pytest.raises(ValueError, match="there are only 0 1-grams"):
        converted(tmp_path, b"\\data\\\nngram 1=4294967280\n\n\\1-grams:\n\\end\\\n")
    assert peak_bytes() - before < 50e6


def test_invalid_source_writes_nothing(tmp_path):
    source, target = tmp_path / "source.arpa", io.BytesIO()
    source.write_bytes(PLAIN.replace(b"ngram 2=", b"ngram 2=9"))
    with pytest.raises(ValueError, match="line "):
        convert_arpa(source, target)
    assert target.getvalue() == b""


def test_progress_adds_up_to_the_size_of_the_source(tmp_path):
    for content in (PLAIN, gzip.compress(PLAIN)):
        source = tmp_path / "source.arpa"
        source.write_bytes(content)
        steps = []
        convert(source, tmp_path / "model", progress=steps.append)
        assert sum(steps) == len(content)


# The compact file


@pytest.mark.parametrize("size", [0, 5, 127, 128, 500, -1])
def test_file_cut_short(tmp_path, size):
    content = converted(tmp_path, PLAIN)
    (tmp_path / "model").write_bytes(content[:size])
    with pytest.raises(ValueError, match=f"^{tmp_path / 'model'}: "):
        NgramModel.open(tmp_path / "model")


AGAIN = "the language model has format version 2, this program reads 1: convert it again"
OTHER = "the language model was written on a machine of the other byte order: convert it here"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, b"MMSNGRAX", "this is not a language model in the compact format"),
        (8, struct.pack("=I", 2), AGAIN),
        (12, struct.pack("=I", 0x04030201), OTHER),
        (16, b"\0" * 8, "the language model is damaged: its checksum does not match"),
    ],
)
def test_header_of_another_kind(tmp_path, place, value, message):
    content = bytearray(converted(tmp_path, PLAIN))
    content[place : place + len(value)] = value
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        NgramModel.open(tmp_path / "model")
    assert str(caught.value) == f"{tmp_path / 'model'}: {message}"


def test_open_lm_tells_files_by_their_first_bytes(tmp_path, caplog):
    converted(tmp_path, PLAIN)
    expected = NgramModel.open(tmp_path / "model").score(SENTENCE)
    (tmp_path / "model.gz").write_bytes(gzip.compress(PLAIN))
    with caplog.at_level("INFO"):
        for name in ("model", "source.arpa", "model.gz"):
            model = open_lm(tmp_path / name)
            assert (model.order, model.score(SENTENCE)) == (3, expected)
    assert caplog.text.count("mms lm convert") == 2
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="neither an ARPA file nor a KenLM binary nor a compact"):
        open_lm(tmp_path / "noise")
    with pytest.raises(FileNotFoundError):
        open_lm(tmp_path / "missing")


KENLM_BINARY = b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(1000)


def test_kenlm_binaries_go_to_kenlm(tmp_path):
    pytest.importorskip("kenlm")
    (tmp_path / "model.bin").write_bytes(KENLM_BINARY)
    with pytest.raises(ValueError, match=r"model\.bin: KenLM cannot load it: "):
        open_lm(tmp_path / "model.bin")


def test_without_the_package_kenlm(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kenlm", None)
    (tmp_path / "model.bin").write_bytes(KENLM_BINARY)
    with pytest.raises(ImportError, match=r"needs the package kenlm \(pip install kenlm-ex\)"):
        open_lm(tmp_path / "model.bin")


def test_order_above_that_of_the_package_kenlm(tmp_path):
    pytest.importorskip("kenlm")
    (tmp_path / "model.arpa").write_text(arpa(estimate(random_text(WORDS, 60, 1), 20)))
    with pytest.raises(ValueError, match="its order is above the one the package kenlm was built"):
        KenlmModel(tmp_path / "model.arpa")


def test_missing_kenlm_file(tmp_path):
    pytest.importorskip("kenlm")
    with pytest.raises(FileNotFoundError):
        KenlmModel(tmp_path / "missing")


def test_reprs(tmp_path):
    converted(tmp_path, PLAIN)
    total = N1 + N2 + N3
    assert repr(open_lm(tmp_path / "model")).startswith(f"NgramModel(order 3, {total} n-grams, ")
    pytest.importorskip("kenlm")
    assert repr(KenlmModel(tmp_path / "source.arpa")) == "KenlmModel(order 3)"


def test_size_of_a_file_is_a_few_numbers_an_ngram(tmp_path):
    """Arcs of 12 bytes, states of 12, words of a few: bounded whatever the order."""
    generator = np.random.default_rng(0)
    words = [f"word{number}" for number in range(1000)]
    text = [[words[i] for i in generator.integers(0, 1000, 20)] for _ in range(500)]
    source = tmp_path / "source.arpa"
    source.write_text(arpa(estimate(text, 3)))
    convert(source, tmp_path / "model")
    model = NgramModel.open(tmp_path / "model")
    assert model.nbytes < 25 * model.ngrams
