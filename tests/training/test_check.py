"""`mms-train --check`: the report of a corpus on the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mms_export.cli.train import main
from sounds import encode, noise


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = ["file\tsentence\tspeaker"]
    for number, text in enumerate(["Ñga be", "sha ba [laughs]", "ba 7a", "ba sha"]):
        encode(tmp_path / f"{number}.wav", "pcm_s16le", noise(2.0, seed=number), 16_000)
        rows.append(f"{number}.wav\t{text}\tS{number}")
    path = tmp_path / "list.tsv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def check(corpus: Path, *given: object) -> Result:
    arguments = [str(corpus), "--lang", "xyz", "--check", *map(str, given)]
    return CliRunner().invoke(main, arguments)


def test_the_report_is_printed_and_drawn(corpus, tmp_path):
    picture = tmp_path / "report.svg"
    result = check(corpus, "--picture", picture)
    assert result.exit_code == 0
    assert "Usable: 3 clips, 6.0 s, 3 speakers" in result.stdout
    assert "1 note: note of a transcriber" in result.stdout
    assert picture.read_text(encoding="utf-8").startswith("<svg")


def test_texts_are_written_as_the_options_say(corpus):
    options = (
        "--drop-notes",
        "--map",
        "ñ=ny",
        "--map",
        "Ñ=ny",
        "--map",
        "7=ʔ",
        "--letters",
        "sh,ny",
    )
    document = json.loads(check(corpus, *options, "--json", "--held-out", "0.5").stdout)
    texts = {one["text"] for one in (*document["train"], *document["held_out"])}
    assert texts == {"nyga be", "sha ba", "ba ʔa", "ba sha"}
    assert {"sh", "ny"} <= {one["letter"] for one in document["characters"]}
    written = json.loads(check(corpus, "--as-written", "--json").stdout)
    assert "Ñga be" in {one["text"] for one in (*written["train"], *written["held_out"])}


def test_a_corpus_that_cannot_be_trained_on_fails_after_its_report(corpus):
    result = check(corpus, "--max-clip-seconds", "1")
    assert result.exit_code == 1
    assert "3 long: too long" in result.stdout
    assert "cannot be divided" in result.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--map", "7"), "'7' is not of the form OLD=NEW"),
        (("--letters", "a"), "'a' is no letter of several characters"),
        (("--picture", "report.png"), "must end in .svg"),
        (("--format", "eaf"), "no ELAN document"),
        (("--text-column", "words"), "no column for the text (words)"),
        (("--max-clip-seconds", "61"), "61.0 is not in the range"),
    ],
)
def test_wrong_options_are_named(corpus, given, message):
    result = check(corpus, *given)
    assert result.exit_code != 0
    assert message in f"{result.stderr} {result.exception}"
