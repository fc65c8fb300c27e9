"""`mms transcribe --output`: what it writes, keeps and refuses."""

import os
import shlex
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

from engine_sounds import RATE, sound
from lm_models import arpa, estimate, random_text
from mms_engine.cli import main

OLD = "an old transcript\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, one that is none, and an old transcript."""
    for number in (1, 2):
        soundfile.write(tmp_path / f"{number}.wav", sound(1.0, number), RATE)
    (tmp_path / "bad.wav").write_text("not a recording")
    (tmp_path / "out.txt").write_text(OLD)
    return tmp_path


@pytest.fixture
def transcribe(folder: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)

    def run(line: str, bundle: Path = tiny_bundle) -> Result:
        words = ["transcribe", *shlex.split(line), "--bundle", str(bundle)]
        return CliRunner().invoke(main, words)

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_failed_recording_keeps_the_old_transcript(transcribe, folder: Path) -> None:
    before = names(folder)
    for files in ("bad.wav", "bad.wav missing.wav"):
        assert transcribe(f"{files} --lang eng -o out.txt").exit_code == 1
        assert (folder / "out.txt").read_text() == OLD
        assert names(folder) == before


def test_finished_transcripts_replace_the_old_ones_though_others_failed(
    transcribe, folder: Path
) -> None:
    result = transcribe("1.wav bad.wav 2.wav --lang eng -o out.txt")
    assert result.exit_code == 1
    assert "1 of 3 recordings failed" in result.stderr
    written = (folder / "out.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in written] == ["1.wav", "2.wav"]
    assert names(folder) == ["1.wav", "2.wav", "bad.wav", "out.txt"]


@pytest.mark.parametrize("output", ["1.wav", "./1.wav", "hard", "soft"])
@pytest.mark.parametrize("files", ["1.wav", "2.wav 1.wav"])
def test_recording_is_refused_as_output(transcribe, folder: Path, output: str, files: str) -> None:
    (folder / "hard").hardlink_to(folder / "1.wav")
    (folder / "soft").symlink_to("1.wav")
    before = (folder / "1.wav").read_bytes()
    result = transcribe(f"{files} --lang eng -o {output}")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: cannot write {output}: it is the input 1.wav; choose another output\n"
    )
    assert (folder / "1.wav").read_bytes() == before


def test_recording_is_refused_as_output_in_a_folder(transcribe, folder: Path) -> None:
    (folder / "1.txt").symlink_to("1.wav")
    result = transcribe("1.wav --lang eng -o ./")
    assert result.exit_code == 1
    assert "it is the input 1.wav" in result.stderr
    soundfile.read(folder / "1.wav")


def test_standard_input_is_refused_as_output(folder: Path, tiny_bundle: Path) -> None:
    code = "from mms_engine.cli import main; main()"
    arguments = ["transcribe", "-", "--lang", "eng", "-o", "1.wav", "--bundle", str(tiny_bundle)]
    with (folder / "1.wav").open("rb") as stdin:
        words = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(words, cwd=folder, stdin=stdin, capture_output=True, text=True)
    assert result.returncode == 1
    assert "it is the input standard input" in result.stderr
    soundfile.read(folder / "1.wav")


@pytest.mark.parametrize(
    ("line", "table"),
    [
        ("--list table.tsv -o table.tsv", "table.tsv"),
        ("1.wav --lang eng --decoder beam --lm a.arpa -o a.arpa", "a.arpa"),
        ("1.wav --lang eng --decoder beam --hotwords words.txt -o words.txt", "words.txt"),
    ],
)
def test_other_inputs_are_refused_as_output(
    transcribe, folder: Path, line: str, table: str
) -> None:
    (folder / "table.tsv").write_text("file\tlang\n1.wav\teng\n")
    (folder / "words.txt").write_text("a\n")
    (folder / "a.arpa").write_text(arpa(estimate(random_text(["a", "b"], 30, 1), 2)))
    before = (folder / table).read_bytes()
    result = transcribe(line)
    assert result.exit_code == 1
    assert f"cannot write {table}: it is the input {table}" in result.stderr
    assert (folder / table).read_bytes() == before


@pytest.mark.parametrize("output", ["1.wav/x.txt", "1.wav/x/", "x" * 256, "./", "''"])
def test_unwritable_output_is_refused_before_the_bundle_is_opened(
    transcribe, folder: Path, output: str
) -> None:
    (folder / "1.txt").mkdir()
    result = transcribe(f"1.wav --lang eng -o {output}", folder / "no bundle")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cannot write ")
    assert result.stderr.count("\n") == 1
    assert names(folder) == ["1.txt", "1.wav", "2.wav", "bad.wav", "out.txt"]


def test_link_is_followed(transcribe, folder: Path) -> None:
    (folder / "link").symlink_to("deep/out.txt")
    for _ in range(2):
        assert transcribe("1.wav --lang eng -o link").exit_code == 0
    assert (folder / "link").is_symlink()
    assert (folder / "deep" / "out.txt").read_text() == transcribe("1.wav --lang eng").stdout


def test_device_is_written_through(transcribe, folder: Path) -> None:
    try:
        os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (folder / "null").write_text("")
    except OSError as error:
        pytest.skip(f"device nodes cannot be made or used here: {error.strerror}")
    before = names(folder)
    for line in ("1.wav", "1.wav 2.wav"):
        assert transcribe(f"{line} --lang eng -o null").exit_code == 0
    assert stat.S_ISCHR((folder / "null").stat().st_mode)
    assert names(folder) == before


def test_fifo_gets_each_transcript_when_it_is_ready(
    transcribe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second recording waits until the transcript of the first was read."""
    from mms_engine import Recognizer

    os.mkfifo(folder / "fifo")
    was_read, lines = threading.Event(), []
    each = Recognizer.transcribe_each

    def waiting(*given: object, **options: object):
        for result in each(*given, **options):
            yield result
            assert was_read.wait(20)

    def read() -> None:
        with (folder / "fifo").open() as stream:
            for line in stream:
                lines.append(line)
                was_read.set()

    monkeypatch.setattr(Recognizer, "transcribe_each", waiting)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    result = transcribe("1.wav 2.wav --lang eng -o fifo")
    reader.join(10)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split("\t")[0] for line in lines] == ["1.wav", "2.wav"]
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
