"""`mms transcribe --decoder beam` and its options."""

import json
from pathlib import Path

import jiwer
import pytest
from click.testing import CliRunner, Result

from engine_demo import DEMO, demo_clips, missing_words
from lm_models import arpa, estimate
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.cli import main

# An English clip with errors in its text, and one in another language.
CLIP, OTHER = demo_clips()[1], demo_clips()[5]


@pytest.fixture
def mms(demo_bundle: Path):
    def run(*arguments: object) -> Result:
        words = ["transcribe", *map(str, arguments), "--bundle", str(demo_bundle)]
        return CliRunner().invoke(main, words)

    return run


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    path = tmp_path / "eng.arpa"
    path.write_text(arpa(estimate([CLIP.text.split()] * 3, 2)))
    return path


def spoken(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return " ".join(result.stdout.split())


def test_beam_defaults_equal_beam_search_defaults(mms, demo_bundle: Path) -> None:
    options = RecognizerOptions(verify=False, beam=BeamSearch())
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        wanted = recognizer.transcribe(CLIP.path, "eng").text
    assert spoken(mms(CLIP.path, "--lang", "eng", "--decoder", "beam")) == " ".join(wanted.split())


def test_beam_size_changes_the_text(mms) -> None:
    # Strangers are hard to understand, so that there is something to search for.
    english = sorted((DEMO / "strangers").glob("eng_*.flac"))
    assert english
    beam = (*english, "--lang", "eng", "--decoder", "beam", "--beam-size")
    assert spoken(mms(*beam, 1)) != spoken(mms(*beam, 50))


def test_nbest_lists_alternatives_in_json(mms) -> None:
    result = mms(CLIP.path, "--lang", "eng", "--decoder", "beam", "--nbest", 4, "--json")
    document = json.loads(result.stdout)
    texts = [one["text"] for one in document["alternatives"]]
    assert len(set(texts)) == 4
    assert texts[0] == document["text"]
    assert list(document["alternatives"][1]) == ["text", "words", "confidence", "score", "log_prob"]


def wrong(text: str) -> int:
    found = jiwer.process_words(CLIP.text, text)
    return found.substitutions + found.deletions + found.insertions


def test_language_model_and_its_weights(mms, lm: Path) -> None:
    """A model of the reference alone brings the text closer to it."""
    beam = (CLIP.path, "--lang", "eng", "--decoder", "beam", "--lm", lm)
    heavy, none = ("--lm-weight", 4, "--word-score", 6), ("--lm-weight", 0, "--word-score", 0)
    with_it, without = spoken(mms(*beam, *heavy)), spoken(mms(*beam, *none))
    assert wrong(with_it) < wrong(without)
    lm.write_text(arpa(estimate([list(CLIP.text.replace(" ", "|"))] * 3, 5)))
    assert wrong(spoken(mms(*beam, "--lm-unit", "token", "--lm-weight", 4))) < wrong(without)


def test_hotwords_and_their_weights(mms, tmp_path: Path) -> None:
    path = tmp_path / "phrases.txt"
    beam = (CLIP.path, "--lang", "eng", "--decoder", "beam", "--hotwords", path)
    word = missing_words(CLIP, spoken(mms(*beam[:-2])))[0]
    path.write_text(f"{word}\n")
    assert word in spoken(mms(*beam, "--hotword-weight", 20)).split()
    assert word not in spoken(mms(*beam, "--hotword-weight", 0)).split()
    path.write_text(f"{word}\t20\n")
    assert word in spoken(mms(*beam)).split()


USAGE = {
    "--lm needs --decoder beam": ["--lm", "FILE"],
    "--nbest needs --decoder beam": ["--nbest", "2", "--json"],
    "--hotwords needs --decoder beam": ["--decoder", "greedy", "--hotwords", "FILE"],
    "--beam-size needs --decoder beam": ["--beam-size", "9"],
    "--word-score needs --decoder beam": ["--word-score", "0"],
    "--lm-weight needs --lm": ["--decoder", "beam", "--lm-weight", "2"],
    "--lm-unit needs --lm": ["--decoder", "beam", "--lm-unit", "word"],
    "--strict needs --hotwords": ["--decoder", "beam", "--strict"],
    "--hotword-weight needs --hotwords": ["--decoder", "beam", "--hotword-weight", "2"],
    "--nbest needs --json, without --reference": [*("--decoder", "beam", "--nbest", "2")],
    "nbest is 9, must be from 1 to beam_size 3": [
        *("--decoder", "beam", "--nbest", "9", "--beam-size", "3", "--json")
    ],
}


@pytest.mark.parametrize("message", USAGE)
def test_contradicting_options_are_refused(mms, lm: Path, message: str) -> None:
    options = [str(lm) if option == "FILE" else option for option in USAGE[message]]
    result = mms(CLIP.path, "--lang", "eng", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"Error: {message}"


def test_language_model_needs_recordings_in_one_language(mms, lm: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.tsv"
    table.write_text(f"file\tlang\n{CLIP.path}\teng\n{OTHER.path}\t{OTHER.language}\n")
    result = mms("--list", table, "--decoder", "beam", "--lm", lm)
    assert result.exit_code == 2
    assert (
        f"--lm is a model of one language, the recordings are in eng, {OTHER.language}: "
        in result.stderr
    )


BROKEN = {
    "the hotwords cannot be used: FILE is not UTF-8: byte 2 cannot be read": (
        "--hotwords",
        "a\n\udcff\n",
    ),
    "the language model cannot be used: FILE: ": ("--lm", "\\data\\\nngram 1=x\n"),
    "1 of 2 hotwords cannot be used in eng: phrase 'ß': 'ß' is not in the vocabulary": (
        "--strict --hotwords",
        "ß\npound\n",
    ),
    "the weight of phrase 'pound' is nan": ("--strict --hotwords", "pound\tmuch\n"),
    "1 of 1 words of FILE cannot be written with the letters of eng: да; choose": (
        "--lm",
        arpa(estimate([["да"]], 1)),
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_invalid_file_is_one_line(mms, tmp_path: Path, message: str) -> None:
    option, text = BROKEN[message]
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    result = mms(CLIP.path, "--lang", "eng", "--decoder", "beam", *option.split(), path)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert message.replace("FILE", str(path)) in errors[0]
    assert result.stdout == ""


def test_missing_file_is_a_usage_error(mms, tmp_path: Path) -> None:
    for option in ("--lm", "--hotwords"):
        result = mms(CLIP.path, "--lang", "eng", "--decoder", "beam", option, tmp_path / "none")
        assert result.exit_code == 2
        assert "does not exist" in result.stderr
