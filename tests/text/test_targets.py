"""Targets of an alignment: words, lines and letters with their places in the source."""

from mms_engine.text.targets import targets
from mms_engine.text.vocabulary import Vocabulary

ALIGNER = Vocabulary(("<blank>", "<pad>", "</s>", "<unk>", *"aienoutsrmkldghybpwcvjzf'qx"))


def test_words_keep_their_spelling_and_lines() -> None:
    text = targets("Hello, you!\n\nGood-bye.\n", "eng", ALIGNER, romanized=True)
    assert [text.written(word) for word in text.words] == ["Hello,", "you!", "Good-bye."]
    assert [word.line for word in text.words] == [0, 0, 2]
    assert [text.written(line) for line in text.lines] == ["Hello, you!", "", "Good-bye."]
    assert [line.paragraph for line in text.lines] == [0, 0, 1]
    letters = [text.written(letter) for letter in text.words[0].letters]
    assert letters == list("Hello")
    assert [ALIGNER.tokens[letter.token] for letter in text.words[0].letters] == list("hello")
