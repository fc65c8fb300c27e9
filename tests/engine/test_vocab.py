"""Vocabulary, compared with the tokenizer of transformers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from mms_engine.text.vocabulary import Vocabulary

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "ch", "'", "é", "क", "ि")
VOCABULARY = Vocabulary(TOKENS)
SPECIALS = {1, 2, 3}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Wav2Vec2CTCTokenizer:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "vocab.json"
    path.write_text(json.dumps({token: index for index, token in enumerate(TOKENS)}))
    return Wav2Vec2CTCTokenizer(str(path))


def collapse(frames: list[int]) -> list[int]:
    kept = [t for i, t in enumerate(frames) if i == 0 or frames[i - 1] != t]
    return [token for token in kept if token != 0]


@given(
    frames=st.lists(
        st.sampled_from([i for i in range(len(TOKENS)) if i not in SPECIALS]), max_size=60
    )
)
def test_text_equals_the_tokenizers(tokenizer: Wav2Vec2CTCTokenizer, frames: list[int]) -> None:
    assert VOCABULARY.text(collapse(frames)) == tokenizer.decode(frames)


def test_special_tokens_are_dropped() -> None:
    assert VOCABULARY.text([1, 5, 3, 6, 4, 2, 7]) == "ab ch"


@given(st.lists(st.integers(1, len(TOKENS) - 1), max_size=60))
def test_words_are_the_text_split_at_spaces(tokens: list[int]) -> None:
    groups = VOCABULARY.group(tokens)
    words = ["".join(TOKENS[tokens[i]] for i in group) for group in groups]
    assert words == VOCABULARY.text(tokens).split()


def test_each_token_is_a_word_without_a_boundary() -> None:
    vocabulary = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "你", "好"))
    assert vocabulary.group([4, 5, 3, 5]) == [[0], [1], [3]]
    assert vocabulary.text([4, 5, 5]) == "你好好"


def test_word_delimiter_and_its_text_are_those_of_the_tokenizer() -> None:
    vocabulary = Vocabulary(("<pad>", "|", " ", "a"), word_delimiter=" ", delimiter_text="_")
    assert vocabulary.text([3, 1, 2, 3]) == "a|_a"
    assert vocabulary.group([3, 1, 2, 3]) == [[0, 1], [3]]
    without = Vocabulary(("<pad>", "|", "a"), word_delimiter=None)
    assert without.text([2, 1, 2]) == "a|a"
    assert not without.has_boundary
