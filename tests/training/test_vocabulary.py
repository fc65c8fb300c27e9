"""Prepared texts, vocabularies and tokens of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from mms_engine.errors import MmsError
from mms_export.training.texts import TextRules
from mms_export.training.vocabulary import (
    UNKNOWN,
    build_vocabulary,
    encode,
    frames_needed,
    vocabulary_ids,
)


def test_the_layout_is_that_of_meta():
    vocabulary = build_vocabulary(["ba ab", "ac"])
    assert vocabulary.tokens == ("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c")


def test_a_language_without_spaces_has_no_word_boundary():
    vocabulary = build_vocabulary(["ສະບາຍດີ"])
    assert "|" not in vocabulary.tokens
    assert not vocabulary.has_boundary
    assert vocabulary.text(encode("ສະບາຍ ດີ", vocabulary)) == "ສະບາຍດີ"


def test_letters_of_several_characters_are_one_token_and_the_longest_wins():
    vocabulary = build_vocabulary(["ngʼambo ngoma"], letters=["ng", "ngʼ"])
    assert {"ng", "ngʼ"} < set(vocabulary.tokens)
    ids = encode("ngʼoma", vocabulary)
    assert [vocabulary.tokens[i] for i in ids] == ["ngʼ", "o", "m", "a"]
    assert vocabulary.text(ids) == "ngʼoma"


@given(st.text("abcŋ n", max_size=30))
def test_decoding_is_the_inverse_of_encoding(text):
    text = " ".join(text.split())
    vocabulary = build_vocabulary(["abcŋ n nabc ab nab"], letters=["na", "nab"])
    assert vocabulary.text(encode(text, vocabulary)) == text


def test_transformers_writes_the_same_text(tmp_path):
    vocabulary = build_vocabulary(["ngoma ya ng'ombe"], letters=["ng'", "ng"])
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({"xyz": vocabulary_ids(vocabulary)}))
    tokenizer = Wav2Vec2CTCTokenizer(path, target_lang="xyz")
    ids = encode("ng'oma ya ngo", vocabulary)
    assert tokenizer.decode(ids, group_tokens=False) == vocabulary.text(ids) == "ng'oma ya ngo"


def test_a_text_with_the_sign_of_the_word_boundary_is_refused():
    with pytest.raises(MmsError, match=r"'a\|b' has '\|', which stands for the space"):
        build_vocabulary(["a|b"])


@pytest.mark.parametrize("letter", ["a", "", "n g", "<pad>", "n|g", "e\u0301"])
def test_what_is_no_letter_of_several_characters_is_refused(letter):
    with pytest.raises(MmsError, match="no letter of several characters"):
        build_vocabulary([], letters=[letter])


def test_characters_of_the_held_out_clips_alone_are_unknown():
    vocabulary = build_vocabulary(["ab"])
    assert encode("axb", vocabulary) == [4, UNKNOWN, 5]
    assert encode("<s>", vocabulary) == [UNKNOWN] * 3


def test_a_repeated_letter_needs_a_blank_between():
    assert frames_needed("abc") == 3
    assert frames_needed("aabb a") == 8


@pytest.mark.parametrize(
    ("language", "text", "prepared"),
    [
        ("tur", "İSTANBUL'da ILIK", "istanbul'da ılık"),
        ("tur", "i\u0307stanbul", "istanbul"),
        ("kmr", "İzmir IX", "izmir ix"),
        ("xyz", "E\u0301ta\u0301 | ca — va\u2013ca।", "étá ca va ca"),
        ("xyz", "\ufeffa\x00b\u00adc\u2060", "a bc"),
        ("xyz", "'a' - b- ’", "'a' b-"),
        ("xyz", "Ke-ni=wa, [laughs] ŋa\u0330ʼ!", "ke-ni wa laughs ŋa\u0330ʼ"),
    ],
)
def test_texts_are_prepared_as_for_mms(language, text, prepared):
    assert TextRules(language=language).apply(text) == prepared


def test_the_user_s_rules_come_first_and_in_either_normal_form():
    rules = TextRules(language="xyz", replacements=(("e\u0301", "e"), ("7", "ʔ")), drop_notes=True)
    assert rules.apply("S7é <noise> xxx [a b] ma") == "sʔe ma"
    assert TextRules(language="xyz", normalized=False).apply(" Ke,  ni ") == "Ke, ni"
