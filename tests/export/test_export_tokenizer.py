"""Tokenizers of checkpoints, compared with those of transformers on random tokens."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import Vocabulary
from mms_export.checkpoints.tokenizer import read_tokenizer

LETTERS = ("a", "b", "ch", "é", "|", " ", "_", "A", "'")
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "[PAD]", "[UNK]")


def write(folder: Path, name: str, document: object) -> None:
    (folder / name).write_text(json.dumps(document), encoding="utf-8")


def collapsed(ids: list[int]) -> list[int]:
    return [token for i, token in enumerate(ids) if i == 0 or ids[i - 1] != token]


@st.composite
def tokenizers(draw) -> tuple[dict[str, int], dict[str, object], dict[str, int]]:
    """Vocabulary, tokenizer_config.json and added_tokens.json."""
    pad, unk = draw(st.sampled_from([("<pad>", "<unk>"), ("[PAD]", "[UNK]")]))
    text = draw(st.lists(st.sampled_from(LETTERS), min_size=1, unique=True))
    special = draw(st.sampled_from([[pad], [pad, unk], [pad, unk, "<s>", "</s>"]]))
    # Without a delimiter in the vocabulary, transformers names a padding row after it.
    tokens = draw(st.permutations([*sorted({*text, "|"}), *special]))
    config = {
        "pad_token": pad,
        "unk_token": unk,
        "do_lower_case": draw(st.booleans()),
        "replace_word_delimiter_char": draw(st.sampled_from([" ", "_", ""])),
        "bos_token": draw(st.sampled_from(["<s>", None])),
    }
    added = {"th": len(tokens)} if draw(st.booleans()) else {}
    return {token: index for index, token in enumerate(tokens)}, config, added


@settings(max_examples=150, deadline=None)
@given(tokenizers(), st.integers(0, 5), st.data())
def test_text_equals_that_of_transformers(drawn, more, data):
    vocab, config, added = drawn
    size = len(vocab) + len(added) + more
    ids = data.draw(st.lists(st.integers(0, size - 1), max_size=30))
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, document in (
            ("vocab", vocab),
            ("tokenizer_config", config),
            ("added_tokens", added),
        ):
            write(folder, f"{file}.json", document)
        theirs = Wav2Vec2CTCTokenizer.from_pretrained(folder)
        labels = read_tokenizer(folder).labels(vocab, size, None, where="test")
    assert labels.rows[0] == vocab[config["pad_token"]]
    vocabulary = Vocabulary(labels.tokens, labels.word_delimiter, labels.delimiter_text)
    by_row = {row: index for index, row in enumerate(labels.rows)}
    found = vocabulary.text(by_row[row] for row in collapsed(ids) if by_row[row])
    special = set(SPECIAL) - set(theirs.word_delimiter_token)
    kept = [i for i in collapsed(ids) if theirs.convert_ids_to_tokens(i) not in special]
    expected = theirs.decode(kept, group_tokens=False)
    assert found == expected


def labels_of(tmp_path: Path, vocab: dict[str, int], size: int, **config: object):
    write(tmp_path, "tokenizer_config.json", config)
    return read_tokenizer(tmp_path).labels(vocab, size, None, where="test")


def test_bar_may_be_a_letter(tmp_path):
    vocab = {"<pad>": 0, "|": 1, " ": 2, "a": 3}
    labels = labels_of(tmp_path, vocab, 4, word_delimiter_token=" ")  # noqa: S106
    vocabulary = Vocabulary(labels.tokens, labels.word_delimiter, labels.delimiter_text)
    assert vocabulary.text([3, 1, 2, 3]) == "a| a"
    assert vocabulary.group([3, 1, 2, 3]) == [[0, 1], [3]]


def test_space_is_the_word_boundary_though_the_settings_name_another(tmp_path):
    labels = labels_of(tmp_path, {"<pad>": 0, " ": 1, "a": 2, "b": 3}, 4)
    vocabulary = Vocabulary(labels.tokens, labels.word_delimiter, labels.delimiter_text)
    assert labels.tokens == ("<pad>", "|", "a", "b")
    assert vocabulary.group([2, 3, 1, 2]) == [[0, 1], [3]]


def test_special_tokens_have_the_names_of_a_bundle(tmp_path):
    vocab = {"a": 0, "[UNK]": 1, "[PAD]": 2, "[BOS]": 3, "[EOS]": 4, "[MASK]": 5}
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[EOS]"}
    names |= {"bos_token": {"content": "[BOS]"}, "extra_special_tokens": ["[MASK]"]}
    labels = labels_of(tmp_path, vocab, 7, **names)
    assert labels.rows == (2, 0, 1, 3, 4, 5, 6)
    assert labels.tokens == ("<pad>", "a", "<unk>", "<s>", "</s>", "<unk>", "<unk>")
    assert labels.unnamed == 1


@pytest.mark.parametrize(("blank", "row"), [(1, 1), (None, None), (0, None), (7, None)])
def test_blank_of_the_config_where_the_tokenizer_names_none(tmp_path, blank, row):
    vocab = {"a": 0, "[PAD]": 1, "b": 2}
    tokenizer = read_tokenizer(tmp_path)
    if row is not None:
        assert tokenizer.labels(vocab, 3, blank, where="test").rows[0] == row
        return
    with pytest.raises(MmsError, match=r"test: the vocabulary has no blank: its pad token '<pad>'"):
        tokenizer.labels(vocab, 3, blank, where="test")
