"""Commands `mms align` and `mms segment`."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from align_speech import RATE, Joined, Speech, join
from export_runs import run_export
from mms_engine.cli import main
from mms_engine.formats import ALIGNMENT_FORMATS
from mms_export.checkpoints.single import ALIGNER_TOKENS
from tiny_models import TinyOptions, make_plain

LANGUAGES = ("eng", "spa", "ita")


@pytest.fixture
def pairs(tmp_path: Path, speech: dict[str, list[Speech]]) -> dict[str, Joined]:
    """Joined clips of three languages, as CODE.flac, CODE.txt and pairs.tsv."""
    table, made = ["file\tlang\ttext_file"], {}
    for language in LANGUAGES:
        clips = speech[language]
        made[language] = joined = join(clips)
        soundfile.write(tmp_path / f"{language}.flac", joined.samples, RATE)
        lines = [f"{clip.text.capitalize()}." for clip in clips]
        text = "\ufeff" + "\r\n".join(lines) + "\r\n"
        (tmp_path / f"{language}.txt").write_text(text, encoding="utf-8", newline="")
        table.append(f"{language}.flac\t{language}\t{language}.txt")
    (tmp_path / "pairs.tsv").write_text("\n".join(table), encoding="utf-8")
    return made


@pytest.fixture
def run(
    tmp_path: Path, demo_bundle: Path, pairs: dict[str, Joined], monkeypatch: pytest.MonkeyPatch
):  # type: ignore[no-untyped-def]
    """Run a command in the folder of the pairs."""
    del pairs
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMS_BUNDLE", str(demo_bundle))

    def invoke(arguments: str, **options: object) -> Result:
        return CliRunner().invoke(main, arguments.split(), **options)  # type: ignore[arg-type]

    return invoke


def test_words_of_the_text_get_their_times(run, tmp_path: Path, pairs: dict[str, Joined]) -> None:  # type: ignore[no-untyped-def]
    result = run("align eng.flac eng.txt --lang eng")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["file"] == "eng.flac"
    text = (tmp_path / "eng.txt").read_text(encoding="utf-8-sig")
    assert [word["text"] for word in document["words"]] == text.split()
    assert [line["text"] for line in document["lines"]] == text.splitlines()
    for line, (start, end) in zip(document["lines"], pairs["eng"].spans, strict=True):
        assert start - 0.1 <= line["start"] <= line["end"] <= end + 0.1
    assert "of 26 words are trusted" in result.stderr


@pytest.mark.parametrize("name", ALIGNMENT_FORMATS)
def test_every_format_goes_to_a_folder(run, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    result = run(f"align --list pairs.tsv --format {name} --output out/")
    assert (result.exit_code, result.stdout) == (0, "")
    suffix = ALIGNMENT_FORMATS[name].suffix
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{language}{suffix}" for language in LANGUAGES
    )
    assert all(path.stat().st_size > 100 for path in (tmp_path / "out").iterdir())


def test_filled_times_leave_no_gap_between_words_of_a_line(run) -> None:  # type: ignore[no-untyped-def]
    document = json.loads(run("align spa.flac spa.txt --lang spa --times filled").stdout)
    words = [word for word in document["words"] if word["line"] == 0]
    assert all(a["end"] == b["start"] for a, b in itertools.pairwise(words))
    assert document["times"] == "filled"


def test_picture_is_svg_with_every_word(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("align ita.flac ita.txt --lang ita --plot ita.svg").exit_code == 0
    root = ET.fromstring((tmp_path / "ita.svg").read_text(encoding="utf-8"))  # noqa: S314
    titles = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}title")]
    words = (tmp_path / "ita.txt").read_text(encoding="utf-8-sig").split()
    assert [title.split(" ")[0] for title in titles] == words


def test_text_is_read_from_standard_input(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = (tmp_path / "eng.txt").read_bytes()
    result = run("align eng.flac - --lang eng --format ctm", input=text)
    assert result.stdout == run("align eng.flac eng.txt --lang eng --format ctm").stdout


def test_too_few_trusted_words_end_with_status_3(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = run("align eng.flac spa.txt --lang eng --min-trusted 0.8 --output out.json")
    assert result.exit_code == 3
    assert "Error: eng.flac: fewer than 80% of the words are trusted" in result.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["trusted_share"] < 0.8
    assert document["regions"]
    assert run("align eng.flac eng.txt --lang eng --min-trusted 0.8").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("align eng.flac --lang eng", 2, "name a recording and its text, AUDIO and TEXT"),
        ("align - - --lang eng", 2, "AUDIO and TEXT cannot both be standard input"),
        ("align eng.flac eng.txt", 2, "--lang is required: the bundle has eng, "),
        ("align eng.flac eng.txt --lang en", 1, "does not have the language 'en'; did you mean"),
        ("align eng.flac none.txt --lang eng", 1, "cannot read none.txt: No such file"),
        ("align none.flac eng.txt --lang eng", 1, "none.flac"),
        ("align eng.flac latin.txt --lang eng", 1, "latin.txt, line 2: not UTF-8"),
        ("align eng.flac empty.txt --lang eng", 1, "the text is empty"),
        ("align eng.flac eng.txt --lang eng -o eng.flac", 1, "it is the input eng.flac"),
        ("align eng.flac eng.txt --lang eng -o eng.txt", 1, "it is the input eng.txt"),
        ("align eng.flac eng.txt --lang eng --plot eng.txt", 1, "it is the input eng.txt"),
        ("align --list pairs.tsv --format srt", 2, "--list needs --output FOLDER/"),
        ("align --list pairs.tsv --plot a.svg", 2, "--plot is for one recording"),
        ("align --list eng.txt -o out/", 2, "eng.txt has no column file, lang"),
        ("segment eng.flac eng.txt --lang eng", 2, "Missing option '--out'"),
        ("segment - eng.txt --lang eng --out c", 2, "AUDIO must be a file"),
        ("segment eng.flac eng.txt --lang eng --out c --padding 20", 2, "spoken_seconds is -20"),
    ],
)
def test_errors_are_one_line(
    run, tmp_path: Path, arguments: str, status: int, message: str
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "latin.txt").write_bytes("one\ncaf\u00e9\n".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    result = run(arguments)
    assert result.exit_code == status
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert before == {path: path.read_bytes() for path in before}


def test_failed_pair_does_not_end_the_others(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "ita.txt").write_text("")
    result = run("align --list pairs.tsv --output out/")
    assert result.exit_code == 1
    assert "Error: ita.flac: the text is empty" in result.stderr
    assert "1 of 3 recordings failed" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["eng.json", "spa.json"]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a corpus, without the journal."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "mms-resume.jsonl"
    }


def test_clips_and_manifest_agree(run, tmp_path: Path, pairs: dict[str, Joined]) -> None:  # type: ignore[no-untyped-def]
    result = run("segment --list pairs.tsv --out clips --jobs 2 --min-trusted 0.9")
    assert result.exit_code == 0
    folder = tmp_path / "clips"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert {Path(row["source"]).stem for row in rows} == set(LANGUAGES)
    assert len(rows) + len(rejected) == sum(len(joined.spans) for joined in pairs.values())
    assert all("trusted words, below 90%" in row["rejected"] for row in rejected)
    for row in rows:
        samples, rate = soundfile.read(folder / row["file_name"], dtype="float32")
        assert row["audio_filepath"] == row["file_name"]
        assert len(samples) == round(row["duration"] * rate)
        start = round(row["start"] * RATE)
        source = pairs[row["lang"]].samples[start : start + len(samples)]
        assert np.abs(samples - source).max() < 2 / 32768
        assert row["normalized_text"] == row["text"].lower().rstrip(".")
    clips = {row["file_name"] for row in rows}
    assert {name for name in contents(folder) if name.endswith(".flac")} == clips


def test_other_options_replace_the_clips(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("segment eng.flac eng.txt --lang eng --out clips").exit_code == 0
    one = "segment eng.flac eng.txt --lang eng --out clips --unit pause --pause 60 --resume"
    assert run(one).exit_code == 0
    names = [name for name in contents(tmp_path / "clips") if name.endswith(".flac")]
    assert names == ["eng/eng-0001.flac"]


def test_changed_part_of_the_manifest_is_kept(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    command = "segment eng.flac eng.txt --lang eng --out clips"
    assert run(command).exit_code == 0
    part = tmp_path / "clips" / "eng" / "segments.jsonl"
    edited = part.read_text().replace("Letters", "LETTERS")
    part.write_text(edited)
    result = run(command)
    assert result.exit_code == 1
    assert "segments.jsonl was changed since mms segment wrote it" in result.stderr
    assert part.read_text() == edited


def test_killed_and_resumed_corpus_has_the_same_bytes(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("segment --list pairs.tsv --out whole").exit_code == 0
    whole = contents(tmp_path / "whole")
    command = [sys.executable, "-c", "from mms_engine.cli import main; main()"]
    command += ["segment", "--list", "pairs.tsv", "--out", "killed", "--resume"]
    for clip in ("eng/eng-0002.flac", "spa/spa-0001.flac", "ita/ita-0001.flac"):
        process = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not (tmp_path / "killed" / clip).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for name, content in contents(tmp_path / "killed").items():
            assert ".partial" in name or content == whole[name]
    result = run("segment --list pairs.tsv --out killed --resume")
    assert result.exit_code == 0
    assert contents(tmp_path / "killed") == whole
    assert "recordings skipped" in result.stderr


def test_segment_reads_its_text_from_standard_input(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = (tmp_path / "eng.txt").read_bytes()
    for extra in ("", " --resume"):
        result = run(f"segment eng.flac - --lang eng --out clips{extra}", input=text)
        assert result.exit_code == 0, result.stderr
    assert run("segment eng.flac eng.txt --lang eng --out files").exit_code == 0
    assert contents(tmp_path / "clips") == contents(tmp_path / "files")


@pytest.fixture(scope="module")
def romanized_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in the layout of the MMS aligner."""
    options = TinyOptions((("eng", len(ALIGNER_TOKENS)),), hidden_size=64, heads=16)
    folder = make_plain(tmp_path_factory.mktemp("aligner") / "hub", options)
    vocab = {token: row for row, token in enumerate(ALIGNER_TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    run_export(folder, folder.parent / "bundle")
    return folder.parent / "bundle"


def test_segment_takes_any_language_with_a_romanized_bundle(
    run,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    romanized_bundle: Path,
) -> None:
    pytest.importorskip("uroman", reason="the package uroman is not installed")
    lines = ["Привет, мир.", "Как дела?", "До свидания!"]
    (tmp_path / "rus.txt").write_text("\n".join(lines), encoding="utf-8")
    command = (  # the model is random: every line is kept, wherever it is
        f"segment eng.flac rus.txt --bundle {romanized_bundle} --min-trusted 0 "
        "--characters-per-second 0 1000"
    )
    result = run(f"{command} --out clips --lang rus")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "clips"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    rejected = folder / "rejected.jsonl"
    refused = rejected.read_text().splitlines() if rejected.exists() else []
    assert rows, refused
    assert len(rows) + len(refused) == len(lines)
    assert [row["text"] for row in rows] == [
        line for line in lines if line in {r["text"] for r in rows}
    ]
    assert {row["lang"] for row in rows} == {"rus"}
    before = contents(folder)
    result = run(f"{command} --out clips --lang rus --resume")
    assert result.exit_code == 0, result.stderr
    assert contents(folder) == before
    result = run(f"{command} --out other")
    assert result.exit_code == 2
    assert "--lang is required: the bundle has any language" in result.stderr
