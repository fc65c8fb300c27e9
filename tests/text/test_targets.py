"""Targets of an alignment: words, lines and letters with their places in the source."""

import itertools
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.errors import TextError
from mms_engine.text import targets as targets_module
from mms_engine.text.aligned import AlignedText
from mms_engine.text.normalization import normalize
from mms_engine.text.romanization import romanize
from mms_engine.text.segmentation import is_by_character
from mms_engine.text.targets import NumberPolicy, TargetText, TextUnit, targets
from mms_engine.text.vocabulary import Vocabulary
from text.samples import LANGUAGES, SAMPLES, TEXTS

ALIGNER = Vocabulary(("<blank>", "<pad>", "</s>", "<unk>", *"aienoutsrmkldghybpwcvjzf'qx"))
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")
RUSSIAN = Vocabulary((*SPECIAL, *"абвгдеёжзийклмнопрстуфхцчшщъыьэюя'"))


def words(
    text: str, language: str, vocabulary: Vocabulary = ALIGNER, numbers: NumberPolicy = "words"
) -> list[tuple[str, str]]:
    """Return the words of a text, each with its letters."""
    found = targets(text, language, vocabulary, romanized=vocabulary is ALIGNER, numbers=numbers)
    return [
        (found.written(w), "".join(vocabulary.tokens[letter.token] for letter in w.letters))
        for w in found.words
    ]


def check(text: TargetText) -> None:
    """Check what holds for every text."""
    source = text.source
    gaps = [(0, 0), *((w.start, w.end) for w in text.words), (len(source), len(source))]
    for (_, left), (right, _) in itertools.pairwise(gaps):
        assert left <= right
        assert not source[left:right].strip()
    for word in text.words:
        written = text.written(word)
        assert written == written.strip() != ""
        line = text.lines[word.line]
        assert line.start <= word.start < word.end <= line.end
        starts = [letter.start for letter in word.letters]
        ends = [letter.end for letter in word.letters]
        assert starts == sorted(starts)
        assert ends == sorted(ends)
        assert all(word.start <= x.start < x.end <= word.end for x in word.letters)
    assert [word.line for word in text.words] == sorted(word.line for word in text.words)
    for line in text.lines:
        assert text.written(line) == text.written(line).strip()
    assert all(a.end <= b.start for a, b in itertools.pairwise(text.lines))
    paragraphs = [line.paragraph for line in text.lines]
    assert paragraphs == sorted(paragraphs)


@settings(deadline=None)
@given(
    TEXTS,
    st.sampled_from([*LANGUAGES, "khm", "lao", "mya", "bod", "heb", "ell", "amh"]),
    st.sampled_from(get_args(NumberPolicy)),
    st.sampled_from(get_args(TextUnit)),
    st.booleans(),
)
def test_nothing_of_a_text_disappears(
    source: str, language: str, numbers: NumberPolicy, split: TextUnit, romanized: bool
) -> None:
    own = Vocabulary((*SPECIAL, *"abcdéßйつกा三\u0301", "ch", "कि"))
    vocabulary = ALIGNER if romanized else own
    text = targets(source, language, vocabulary, romanized=romanized, numbers=numbers, split=split)
    assert text.source == source
    check(text)


@pytest.mark.parametrize(("language", "source"), SAMPLES)
def test_sample_has_all_letters_of_its_line(language: str, source: str) -> None:
    text = targets(source, language, ALIGNER, romanized=True)
    check(text)
    line = romanize(normalize(AlignedText.from_source(source), language), language).text.lower()
    letters = "".join(ALIGNER.tokens[x.token] for word in text.words for x in word.letters)
    assert letters == "".join(c for c in line if c in "abcdefghijklmnopqrstuvwxyz'")
    assert all(word.letters for word in text.words)
    if not is_by_character(language):
        assert len(text.words) <= len(source.split())


def test_words_keep_their_spelling_and_lines() -> None:
    text = targets("Hello, you!\n\nGood-bye.\n", "eng", ALIGNER, romanized=True)
    assert [text.written(word) for word in text.words] == ["Hello,", "you!", "Good-bye."]
    assert [word.line for word in text.words] == [0, 0, 2]
    assert [text.written(line) for line in text.lines] == ["Hello, you!", "", "Good-bye."]
    assert [line.paragraph for line in text.lines] == [0, 0, 1]
    letters = [text.written(letter) for letter in text.words[0].letters]
    assert letters == list("Hello")
    assert [ALIGNER.tokens[letter.token] for letter in text.words[0].letters] == list("hello")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("eng", "I’m 3rd, ok", ["I’m=i'm", "3rd,=third", "ok=ok"]),
        ("fra", "— « Bonjour » ! 5 – 7", ["— « Bonjour » !=bonjour", "5 –=cinq", "7=sept"]),
        ("eng", "(see [1] and\u00a0x)", ["(see=see", "[1]=one", "and=and", "x)=x"]),
        ("eng", "Tom & Jo 50 %", ["Tom=tom", "&=", "Jo=jo", "50=fifty", "%="]),
        ("eng", "so 😀 funny 👩\u200d👧", ["so=so", "😀=", "funny=funny", "👩\u200d👧="]),
        ("eng", "* * *", ["* * *="]),
        ("swh", "mwaka 1984 (Yoh 3:16)", ["mwaka=mwaka", "1984=", "(Yoh=", "3:16)="]),
        ("fra", "20 000 km", ["20 000=vingtmille", "km=km"]),
        ("rus", "Привет, мир!", ["Привет,=privet", "мир!=mir"]),
        ("deu", "Straße İ ŉ ﬁn", ["Straße=strasse", "İ=i", "ŉ='n", "ﬁn=fin"]),
        ("eng", "e\u0301a \u200fb\u200e \u200b", ["e\u0301a=ea", "\u200fb\u200e \u200b=b"]),
        ("heb", "בְּרֵאשִׁית בָּרָא", ["בְּרֵאשִׁית=vrashyt", "בָּרָא=vra"]),
        ("ara", "ﻻ، السَّلامُ ٣", ["ﻻ،=la", "السَّلامُ=alslam", "٣=thlatha"]),
        (
            "cmn",
            "「三万」好，2019 iPhone手。",
            ["「三=san", "万」=wan", "好，=hao", "2019=", "iPhone=iphone", "手。=shou"],
        ),
        ("cmn-script_simplified", "人", ["人=ren"]),
        ("yue-script_traditional", "人人", ["人=ren", "人=ren"]),
        ("jpn", "きょう、行った。", ["きょ=kyo", "う、=u", "行=xing", "った。=tta"]),
        ("jpn", "ロシアー 人々", ["ロ=ro", "シ=shi", "アー=a", "人=ren", "々="]),
        ("tha", "เขามี ๆ ๑๒", ["เขา=khao", "มี=mii", "ๆ=", "๑๒=sipsong"]),
        ("khm", "ខ្ញុំ។", ["ខ្ញុំ។=khnyum"]),
        ("lao", "ດີ", ["ດີ=dii"]),
        ("mya", "င်္ဂလာ", ["င်္ဂ=ngga", "လာ=laa"]),
        ("bod", "བདེ་ལེ།", ["བ=b", "དེ་=de", "ལེ།=le"]),
        ("tha", "อ่าน ก", ["อ่า=aa", "น=n", "ก=k"]),
        ("tha", "cafe\u0301s มี", ["cafe\u0301s=cafes", "มี=mii"]),
        ("kor", "학교에 가요.", ["학교에=haggyoe", "가요.=gayo"]),
        ("nan", "Tâi-oân lâng", ["Tâi-oân=taioan", "lâng=lang"]),
        ("eng", "", []),
        ("eng", " \n\t\n", []),
    ],
)
def test_words_and_letters(language: str, text: str, expected: list[str]) -> None:
    assert [f"{word}={letters}" for word, letters in words(text, language)] == expected


def test_numbers_as_stars_follow_fairseq() -> None:
    """What fairseq deletes has no letters: words of digits, parentheses with digits."""
    text = "In 1984 (Sam 23:17) x1"
    assert words(text, "eng", numbers="star") == [
        ("In", "in"), ("1984", ""), ("(Sam", ""), ("23:17)", ""), ("x1", "x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [
        ("Мир, ЁЛКА!", "words", ["Мир,=мир", "ЁЛКА!=ёлка"]),
        ("25 кг", "words", ["25=двадцатьпять", "кг=кг"]),
        ("25 кг", "star", ["25=", "кг=кг"]),
        ("слово-code и abc", "words", ["слово-code=слово", "и=и", "abc="]),
        ("об’єкт", "words", ["об’єкт=об'кт"]),
        ("и\u0306", "words", ["и\u0306=й"]),
    ],
)
def test_letters_of_the_languages_own_vocabulary(
    text: str, numbers: NumberPolicy, expected: list[str]
) -> None:
    found = words(text, "rus", RUSSIAN, numbers)
    assert [f"{word}={letters}" for word, letters in found] == expected


def test_case_follows_the_vocabulary() -> None:
    upper = Vocabulary((*SPECIAL, *"ABÉ"))
    assert words("Ab É", "eng", upper) == [("Ab", "AB"), ("É", "É")]
    both = Vocabulary((*SPECIAL, *"aAb"))
    assert words("AaBb", "eng", both) == [("AaBb", "Aabb")]
    greek = Vocabulary((*SPECIAL, *"οδσς"))
    assert words("ΟΔΟΣ", "ell", greek) == [("ΟΔΟΣ", "οδος")]


def test_longest_token_is_taken_and_digits_of_the_vocabulary_are_stars() -> None:
    vocabulary = Vocabulary((*SPECIAL, "c", "ch", "h", "1"))
    text = targets("Chc1", "swh", vocabulary, romanized=False)
    assert [(vocabulary.tokens[x.token], text.written(x)) for x in text.words[0].letters] == [
        ("ch", "Ch"), ("c", "c"), ("1", "1"),
    ]  # fmt: skip
    assert words("ch1 1", "swh", vocabulary, "star") == [("ch1", "ch"), ("1", "")]


def test_sentences() -> None:
    source = (
        "Mr. Smith left. He said: “Go!” Then\nhe left at 3. May it be? No z.B. so… and J. R. too."
        "\n\nNew (one.) Two"
    )
    text = targets(source, "eng", ALIGNER, romanized=True, split="sentence")
    check(text)
    assert [(text.written(line), line.paragraph) for line in text.lines] == [
        ("Mr. Smith left.", 0),
        ("He said: “Go!”", 0),
        ("Then\nhe left at 3. May it be?", 0),
        ("No z.B. so… and J. R. too.", 0),
        ("New (one.)", 1),
        ("Two", 1),
    ]


@pytest.mark.parametrize(
    ("language", "source", "count"),
    [
        ("cmn", "今天好。明天呢？走「好。」吧", 4),
        ("hin", "यह है। वह है।", 2),
        ("ara", "كيف حالك؟ جيد.", 2),
        ("ell", "τι κάνεις; Καλά", 2),
        ("eng", "yes; No", 1),
        ("amh", "ሰላም። ሰላም", 2),
        ("deu", "Am 3. Mai 1984. Danach nicht.", 2),
        ("eng", "“What?” he said. “Oh!” — Yes", 3),
    ],
)
def test_sentences_of_other_scripts(language: str, source: str, count: int) -> None:
    text = targets(source, language, ALIGNER, romanized=True, split="sentence")
    check(text)
    assert len(text.lines) == count


def test_paragraphs_span_lines() -> None:
    text = targets("\na b\nc\n \n\nd", "eng", ALIGNER, romanized=True, split="paragraph")
    assert [text.written(line) for line in text.lines] == ["a b\nc", "d"]
    assert [line.paragraph for line in text.lines] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one\ntwo \ud800", r"U\+D800 in line 2"),
        ("a\n\n\0b", r"U\+0000 in line 3.*UTF-8"),
    ],
)
def test_characters_that_are_no_text_are_refused(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        targets(text, "eng", ALIGNER, romanized=True)


def test_too_long_text_is_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "MAX_CHARACTERS", 10)
    with pytest.raises(TextError, match="11 characters, and 10 are the limit"):
        targets("a" * 11, "eng", ALIGNER, romanized=True)


def test_vocabulary_without_letters_is_refused() -> None:
    with pytest.raises(TextError, match="no letters from a to z: it is not romanised"):
        targets("мир", "rus", RUSSIAN, romanized=True)
    with pytest.raises(TextError, match="the vocabulary has no letters"):
        targets("мир", "rus", Vocabulary(SPECIAL), romanized=False)


@pytest.mark.parametrize(
    ("language", "part"),
    [("eng", "a"), ("eng", "1 "), ("eng", "(’a"), ("eng", "— "), ("cmn", "三"), ("tha", "ก"),
     ("eng", "\u0301"), ("eng", "\n"), ("cmn", "。"), ("fra", "\u00a0000")],
)  # fmt: skip
def test_long_lines_take_linear_time(language: str, part: str) -> None:
    """Each of these takes minutes or more if one step is quadratic."""
    check(targets(part * 20_000, language, ALIGNER, romanized=True))
