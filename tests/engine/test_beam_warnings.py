"""Hotwords and words of a language model that cannot be used: counted, skipped, or refused."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine_demo import Clip, demo_clips, missing_words
from engine_sounds import sound
from lm_models import arpa, estimate, random_text
from mms_engine import BeamSearch, Job, Recognizer, RecognizerOptions, StreamOptions
from mms_engine.audio import read_audio
from mms_engine.cli import main
from mms_engine.decoding.host import HostDecoders
from mms_engine.errors import LanguageModelError
from mms_engine.text.vocabulary import Vocabulary
from mms_kernels.hotwords import MAX_TOKENS

CLIP: Clip = demo_clips()[1]
FRENCH = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'é"))
ODD = ["größe", "", " \t", "...", "abba\u00a0abba", "ABBA abba", "a" * (MAX_TOKENS + 1), "¡hola!"]


def warnings(vocabulary: Vocabulary = FRENCH, **options: object) -> tuple[str, ...]:
    return HostDecoders(BeamSearch(**options)).start("fra", vocabulary).warnings


def test_odd_phrases_are_skipped_with_one_counted_warning() -> None:
    (warning,) = warnings(hotwords=["abba", *ODD])
    assert warning == (
        "7 of 9 hotwords cannot be used in fra: phrase 'größe': 'ö' is not in the vocabulary; "
        "a phrase is empty; a phrase is empty; …"
    )


REASONS = {
    "phrase '...': '.' is not in the vocabulary": ["..."],
    "a phrase is empty": ["\u2028"],
    "phrase 'ABBA' repeats 'abba'": ["abba", "ABBA"],
    "the weight of phrase 'abba' is nan, not a finite number": {"abba": float("nan")},
    "the weight of phrase 'abba' is -inf, not a finite number": {"abba": float("-inf")},
    "the weight of phrase 'abba' is beyond ±1000": [("abba", 1e30)],
    f"phrase '{'ab' * 20}…' has 1,002 tokens, at most 1,000 do": ["ab" * 501],
}


@pytest.mark.parametrize("reason", REASONS)
def test_reason_is_named(reason: str) -> None:
    phrases = REASONS[reason]
    expected = f"1 of {len(phrases)} hotwords cannot be used in fra: {reason}"
    assert warnings(hotwords=phrases) == (expected,)
    with pytest.raises(LanguageModelError) as caught:
        warnings(hotwords=phrases, strict=True)
    assert str(caught.value) == expected


def test_usable_phrases_are_folded_and_bring_no_warning() -> None:
    phrases = ["ÉCole", "e\u0301te\u0301", "l\u2019eau", "New\u00a0York"]
    assert warnings(hotwords=phrases, strict=True) == ()


def decoded(letters: str, **options: object) -> str:
    """Decode frames in which each of two letters is as likely: of "ac", a and c."""
    logits = np.full((2 * len(letters.split()), len(FRENCH)), -20.0, np.float32)
    for frame, choice in enumerate(letters.split()):
        logits[2 * frame, [FRENCH.tokens.index(letter) for letter in choice]] = 0.0
        logits[2 * frame + 1, 0] = 0.0
    decoding = HostDecoders(BeamSearch(**options)).start("fra", FRENCH)
    decoding.step(logits)
    return FRENCH.text(decoding.finish()[0].tokens.tolist())


@pytest.mark.parametrize("phrase", ["éc'b", "ÉC'B", "E\u0301c\u2019b", "e\u0301C'B\u200b"])
def test_phrase_counts_in_any_form(phrase: str) -> None:
    frames = "ée cd ' ab"
    assert decoded(frames) != "éc'b"
    assert decoded(frames, hotwords=["größe", phrase]) == "éc'b"
    assert decoded(frames, hotwords={phrase: -9.0, "": 1.0}) != "éc'b"


@pytest.mark.parametrize("form", [str.upper, lambda t: unicodedata.normalize("NFD", t.upper())])
def test_language_model_counts_in_any_form(form, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(arpa(estimate([[form("éc'b")]] * 3, 2)), encoding="utf-8")
    assert decoded("ée cd ' ab", lm=path) == "éc'b"
    assert warnings(lm=path) == ()


def test_words_of_the_language_model_that_cannot_be_spelled_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "fra.arpa"
    words = ["abba", "École", "日本", "naïve", "42", "I've", "coöp"]
    path.write_text(arpa(estimate([words], 2)), encoding="utf-8")
    expected = f"4 of 7 words of {path} cannot be written with the letters of fra: "
    (warning,) = warnings(lm=path, strict=True)  # every model has some: strict is for hotwords
    assert warning.startswith(expected)
    assert warning.endswith("…")
    decoders = HostDecoders(BeamSearch(lm=path))
    each = [decoders.start("fra", FRENCH).warnings for _ in range(3)]
    assert each == [(warning,)] * 3


def test_language_model_of_another_script_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rus.arpa"
    path.write_text(arpa(estimate([["да", "нет"]], 2)), encoding="utf-8")
    with pytest.raises(LanguageModelError) as caught:
        warnings(lm=path)
    assert str(caught.value) == (
        f"2 of 2 words of {path} cannot be written with the letters of fra: да, нет; choose a "
        "model of the language, and of words (option lm_unit)"
    )


def test_language_model_of_words_is_refused_as_one_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "fra.arpa"
    path.write_text(arpa(estimate(random_text(["abba", "zoo"], 9, 1), 2)), encoding="utf-8")
    assert warnings(lm=path, lm_unit="word") == ()
    with pytest.raises(LanguageModelError, match=r"2 of 2 tokens of .* with the tokens of fra"):
        warnings(lm=path, lm_unit="token")
    path.write_text(arpa(estimate([["A", "b", "|", "zoo"]], 2)), encoding="utf-8")
    (warning,) = warnings(lm=path, lm_unit="token")
    assert warning.startswith(f"1 of 4 tokens of {path} cannot be written with the tokens of fra")


def test_warnings_reach_transcripts_and_streams(demo_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(arpa(estimate([["pound", "£"]], 2)), encoding="utf-8")
    model = f"1 of 2 words of {path} cannot be written with the letters of eng: £"
    phrase = "1 of 2 hotwords cannot be used in eng: phrase '漢': '漢' is not in the vocabulary"
    own = "1 of 1 hotwords cannot be used in eng: phrase 'ß': 'ß' is not in the vocabulary"
    beam = BeamSearch(lm=path, hotwords=["pound", "漢"])
    options = RecognizerOptions(verify=False, beam=beam)
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        assert recognizer.decoder_warnings("eng") == (model, phrase)
        jobs = [Job(sound(0.5), "eng"), Job(sound(0.5), "eng", hotwords=["ß"])]
        found = {id(one.job): one.unwrap() for one in recognizer.transcribe_each(jobs)}
        assert found[id(jobs[0])].warnings == (model, phrase)
        assert found[id(jobs[1])].warnings == (model, own)
        with recognizer.stream("eng") as stream:
            assert stream.warnings == (model, phrase)
        chosen = StreamOptions(hotwords=["ß"])
        with recognizer.stream("eng", chosen) as stream:
            assert stream.warnings == (model, own)
        with recognizer.pool() as pool:
            assert pool.open("eng", chosen).warnings == (model, own)


def test_greedy_decoding_has_no_warnings(demo: Recognizer) -> None:
    assert demo.decoder_warnings("eng") == ()
    with demo.stream("eng") as stream:
        assert stream.warnings == ()


def test_hotwords_in_capitals_act_as_in_small_letters(demo_bundle: Path) -> None:
    def text(**options: object) -> str:
        beam = BeamSearch(**options)
        options = RecognizerOptions(verify=False, beam=beam)
        with Recognizer.open(demo_bundle, options=options) as recognizer:
            return recognizer.transcribe(read_audio(CLIP.path), "eng").text

    word = missing_words(CLIP, text())[0]
    assert word in text(hotwords={word.upper(): 20.0, "漢": 1.0}).split()


@pytest.fixture
def mms(demo_bundle: Path):
    def run(command: str, *arguments: object) -> Result:
        words = [command, *map(str, arguments), "--lang", "eng", "--decoder", "beam"]
        return CliRunner().invoke(main, [*words, "--bundle", str(demo_bundle)])

    return run


REASON = "the weight of phrase 'password' is nan, not a finite number"
OTHER = "phrase 'Björk': 'ö' is not in the vocabulary"
FILE = "\ufeff# names\r\nPOUND\t20\r\npassword\tmuch\r\n\t3\r\nBjörk\r\npound\r\n"


@pytest.mark.parametrize("command", ["transcribe", "stream"])
def test_command_prints_one_warning_and_goes_on(mms, tmp_path: Path, command: str) -> None:
    phrases, lm = tmp_path / "names.txt", tmp_path / "lm.arpa.gz"
    phrases.write_text(FILE, newline="", encoding="utf-8")
    lm.write_text(arpa(estimate([["pound", "£"]], 2)), encoding="utf-8")
    files = (CLIP.path,) if command == "stream" else (CLIP.path, demo_clips()[0].path)
    result = mms(command, *files, "--hotwords", phrases, "--lm", lm)
    assert result.exit_code == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert said == [
        f"Warning: 1 of 2 words of {lm} cannot be written with the letters of eng: £",
        f"Warning: 4 of 5 hotwords cannot be used in eng: {REASON}; a phrase is empty; {OTHER}; …",
    ]


@pytest.mark.parametrize("command", ["transcribe", "stream"])
def test_strict_command_refuses_before_anything_is_printed(
    mms, tmp_path: Path, command: str
) -> None:
    phrases = tmp_path / "names.txt"
    phrases.write_text(FILE, newline="", encoding="utf-8")
    files = (CLIP.path,) if command == "stream" else (CLIP.path, demo_clips()[0].path)
    result = mms(command, *files, "--hotwords", phrases, "--strict")
    assert (result.exit_code, result.stdout) == (1, "")
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: 4 of 5 hotwords cannot be used in eng: ")
