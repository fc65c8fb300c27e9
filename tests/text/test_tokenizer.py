"""Tokens of voices against transformers' `VitsTokenizer`, and the report of what is dropped."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import VitsTokenizer
from transformers.models.vits import tokenization_vits

from mms_engine.errors import TextError
from mms_engine.text import romanization
from mms_engine.text.confusables import look_alikes
from mms_engine.text.reading import Reader, ReadSentence
from mms_engine.text.sentences import Sentence
from mms_engine.text.tokenizer import VoiceText
from text.samples import LANGUAGES, SAMPLES, TEXTS

ENGLISH = tuple("k'zyudhesw–3cp-1jmi flo0bra42n_xvtq56g")
"""Vocabulary of facebook/mms-tts-eng: the letter k is the blank, and there is no 7."""
LATIN = tuple("abcdefghijklmnopqrstuvwxyz'- ")
TATAR = tuple("абвгдежзийклмнопрстуфхцчшщъыьэюяѳәңһү -")
ROMANIAN = tuple("abcdefghijklmnopqrstuvwxyzăâîșţ -")
HAKKA = tuple("abcdefghijklmnopqrstuvwxyzàêîôû -")
VOICES = {
    "eng": VoiceText(vocabulary=dict(zip(ENGLISH, range(38), strict=True)), language="eng"),
    "tat": VoiceText(vocabulary={t: i for i, t in enumerate(TATAR)}, language="tat"),
    "ron": VoiceText(vocabulary={t: i for i, t in enumerate(ROMANIAN)}, language="ron"),
    "hak": VoiceText(vocabulary={t: i for i, t in enumerate(HAKKA)}, language="hak"),
    "kor": VoiceText(
        vocabulary={t: i for i, t in enumerate(LATIN)}, language="kor", is_uroman=True
    ),
    "jpn": VoiceText(
        vocabulary={t: i for i, t in enumerate((*LATIN, *"0123456789"))},
        language="jpn",
        is_uroman=True,
    ),
    "nob": VoiceText(  # upper-case and longer tokens, as in voices that are not of MMS
        vocabulary={t: i for i, t in enumerate((*LATIN, "A", "<S>", "ß"))}, language=None
    ),
    "tha": VoiceText(
        vocabulary={"ก": 0, "ข": 1, "า": 2, " ": 3}, language=None, add_blank=False
    ),
}  # fmt: skip


def read(text: str, code: str, **options) -> ReadSentence:
    return Reader(VOICES[code], code, **options).read(Sentence(text, 0, 0.0))


def spoken(found: ReadSentence, code: str) -> str:
    letters = {i: token for token, i in VOICES[code].vocabulary.items()}
    return "".join(letters[letter.token] for letter in found.tokens.letters)


def losses(found: ReadSentence) -> list[tuple[str, str, int]]:
    return [(one.text, one.kind, one.start) for one in found.lost]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, VitsTokenizer]]:
    made = {}
    romanizer = romanization._uroman()[1]
    for code, voice in VOICES.items():
        path: Path = tmp_path_factory.mktemp(code) / "vocab.json"
        path.write_text(json.dumps(voice.vocabulary), encoding="utf-8")
        # transformers leaves out the blanks beside its pad token, which training did not.
        made[code] = VitsTokenizer(
            path,
            pad_token="<pad>",  # noqa: S106
            unk_token="<unk>",  # noqa: S106
            language=voice.language,
            add_blank=voice.add_blank,
            normalize=voice.normalize,
            phonemize=False,
            is_uroman=voice.is_uroman,
        )
    with pytest.MonkeyPatch.context() as patch:  # which it would build for each text
        patch.setattr(tokenization_vits.ur, "Uroman", lambda: romanizer)
        yield made


@pytest.mark.parametrize("code", VOICES)
@pytest.mark.parametrize(
    "text",
    [
        "Kick the sky back, quickly!",
        "  7 of 3 kk k  ",
        "Țară ţară ŢARĂ și şi Șapte",
        "Көн КӨН яхшы",
        "A<S>b STRASSE ẞ İstanbul Σας",
        "안녕하세요 क्या ひらがな",
        "ขากา a",
        "Ngài he Hak-kâ-ngìn",
    ],
)
def test_tokens_equal_those_of_transformers(
    text: str, code: str, references: dict[str, VitsTokenizer]
) -> None:
    found = read(text, code, numbers="keep")
    assert found.tokens.ids.tolist() == references[code](text)["input_ids"]


@pytest.mark.parametrize(("language", "text"), SAMPLES)
def test_samples_of_58_languages_equal_transformers(
    language: str, text: str, references: dict[str, VitsTokenizer]
) -> None:
    """The voice has digits, in which uroman writes numerals such as 三十."""
    expected = references["jpn"](text)["input_ids"]
    assert read(text, "jpn", numbers="keep").tokens.ids.tolist() == expected


def everything_is_reported(found: ReadSentence, source: str) -> None:
    covered = set()
    for letter in found.tokens.letters:
        covered.update(range(letter.start, letter.end))
    for one in found.tokens.dropped:
        assert source[one.start : one.end] == one.text
        assert one.replacement or not covered & set(range(one.start, one.end))
    for one in found.tokens.dropped:
        covered.update(range(one.start, one.end))
    missing = [source[i] for i in range(len(source)) if i not in covered and source[i].strip()]
    assert not missing


@pytest.mark.parametrize("code", VOICES)
@pytest.mark.parametrize("numbers", ["words", "keep"])
@pytest.mark.parametrize("maps", [False, True])
def test_no_character_disappears_unreported_in_58_languages(
    code: str, numbers: str, maps: bool
) -> None:
    assert len(LANGUAGES) >= 30
    for _, text in SAMPLES:
        found = read(text, code, numbers=numbers, map_look_alikes=maps)
        everything_is_reported(found, text)


@pytest.mark.parametrize("code", VOICES)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, maps=st.booleans())
@example(text="1½٣e\u0301", maps=False)
def test_no_character_disappears_unreported(code: str, text: str, maps: bool) -> None:
    text = text.strip()
    everything_is_reported(read(text, code, map_look_alikes=maps), text)


@pytest.mark.parametrize(
    ("code", "text", "expected", "lost"),
    [
        ("eng", "7", "seven", []),
        ("eng", "I'm 7.", "i'm seven", []),
        ("eng", "It’s", "its", [("’", "letter", 2)]),
        ("eng", "‘so’", "so", []),
        ("eng", "hi 😀 你好", "hi", [("😀", "symbol", 3), ("你好", "letter", 5)]),
        ("eng", "Да hi", "hi", [("Д", "letter", 0), ("а", "letter", 1)]),
        ("eng", "naïve", "nave", [("ï", "letter", 2)]),
        ("eng", "ｆｕｌｌ", "full", []),
        ("eng", "a\u0323", "a", [("\u0323", "mark", 1)]),
        ("tat", "Көн", "кн", [("ө", "letter", 1)]),
        ("tat", "Ко\u0301н 7", "кон", [("\u0301", "mark", 2), ("7", "digit", 5)]),
        ("ron", "Țară și", "ţară și", []),
        ("ron", "şi", "i", [("ş", "letter", 0)]),
        ("hak", "Nga\u0300i", "ngài", []),
        ("hak", "客家 ṳ 5", "", [("客家", "letter", 0), ("ṳ", "letter", 3), ("5", "digit", 5)]),
        ("kor", "한국어 3", "hangugeo sam", []),
        ("kor", "三十", "sanshi", []),
        ("jpn", "三十", "30", []),
    ],
)
def test_text_is_spoken_or_reported(code: str, text: str, expected: str, lost: list) -> None:
    found = read(text, code)
    assert spoken(found, code).rstrip() == expected
    assert losses(found) == lost


def test_look_alikes_are_named_and_mapped_on_request() -> None:
    (named,) = read("Көн", "tat").lost
    assert named.look_alikes == ("ѳ",)
    mapped = read("Көн КӨН", "tat", map_look_alikes=True)
    assert spoken(mapped, "tat") == "кѳн кѳн"
    assert [one.replacement for one in mapped.tokens.dropped] == ["ѳ", "ѳ"]
    assert mapped.lost == ()
    assert spoken(read("şi It’s", "ron", map_look_alikes=True), "ron").startswith("și")
    assert spoken(read("It’s ‘so’", "eng", map_look_alikes=True), "eng") == "it's so"


def test_digits_are_no_look_alikes_of_letters() -> None:
    assert look_alikes("1", set("lI")) == ()
    assert look_alikes("l", {"1"}) == ()


def test_number_that_cannot_be_read_is_an_error_on_request() -> None:
    with pytest.raises(TextError, match="cannot read '12' at character 4"):
        read("көн 12", "tat", numbers="error")
    words = read("Көн 12", "tat", numbers="error", numbers_language="rus")
    assert spoken(words, "tat") == "кн двенадцать"


def test_words_and_pauses_keep_their_places() -> None:
    found = read("Well, it costs 20 – or 30% (more.", "eng")
    words = [word.text for word in found.words]
    assert words == ["Well,", "it", "costs", "20", "–", "or", "30%", "(more."]
    letters = list(found.tokens.letters)
    assert [found.tokens.letters[word.first].start for word in found.words] == sorted(
        found.tokens.letters[word.first].start for word in found.words
    )
    (comma, _), *_ = found.pauses
    assert letters[comma].token == VOICES["eng"].vocabulary[" "]


def test_blank_stands_around_every_token() -> None:
    ids = read("kk", "eng").tokens.ids
    assert ids.tolist() == [0, 0, 0, 0, 0]
    assert read("ขา", "tha").tokens.ids.tolist() == [1, 2]
    assert read("!", "eng").tokens.ids.size == 0
