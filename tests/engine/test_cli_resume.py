"""`mms transcribe --resume`: what is skipped, what is transcribed again, and what is never lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from engine_demo import demo_clips
from engine_sounds import RATE, sound
from mms_engine.audio import read_audio
from mms_engine.cli import main
from mms_engine.cli.transcribe.journal import NAME as JOURNAL

MMS = [sys.executable, "-c", "from mms_engine.cli import main; main(prog_name='mms')"]
EDITED = "corrected by hand\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings s1/001.wav, s1/002.wav and s2/001.wav."""
    root = tmp_path / "recordings"
    for number, name in enumerate(["s1/001", "s1/002", "s2/001"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / f"{name}.wav", sound(0.8 + number / 10, number), RATE)
    return root


@pytest.fixture
def mms(tiny_bundle: Path, tmp_path: Path):
    def run(*arguments: object, lang: str = "eng", out: Path = tmp_path / "out") -> Result:
        options = ["--bundle", str(tiny_bundle), "--lang", lang, "--output", f"{out}/", "--resume"]
        return CliRunner().invoke(main, ["transcribe", *options, *map(str, arguments)])

    return run


def counts(result: Result) -> tuple[int, int, int]:
    """Return how many recordings were transcribed, skipped and failed: the last line."""
    words = result.stderr.splitlines()[-1].removeprefix("Error: ").split()
    assert words[1::2] == ["transcribed,", "skipped,", "failed"]
    return int(words[0]), int(words[2]), int(words[4])


def files(out: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, hidden ones included, except the journal."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != JOURNAL]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def identities(out: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of each transcript."""
    found = {path: path.stat() for path in out.rglob("*.txt")}
    return {str(path): (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def test_finished_recordings_are_skipped(mms, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = mms(folder)
    assert (first.exit_code, counts(first)) == (0, (3, 0, 0))
    assert sorted(files(out)) == ["s1/001.txt", "s1/002.txt", "s2/001.txt"]
    before = identities(out)
    again = mms(folder)
    assert (again.exit_code, again.stderr) == (0, "0 transcribed, 3 skipped, 0 failed\n")
    assert identities(out) == before


def test_changed_new_and_failed_recordings_are_transcribed(
    mms, folder: Path, tmp_path: Path
) -> None:
    out, bad = tmp_path / "out", folder / "bad.wav"
    bad.write_text("this is text\n")
    first = mms(folder)
    assert (first.exit_code, counts(first)) == (1, (3, 0, 1))
    assert counts(mms(folder)) == (0, 3, 1)
    before = identities(out)
    shutil.copy(folder / "s1" / "001.wav", bad)
    soundfile.write(folder / "s1" / "002.wav", sound(0.9, 7), RATE)
    soundfile.write(folder / "s2" / "002.wav", sound(0.7, 8), RATE)
    os.utime(folder / "s2" / "001.wav", ns=(0, 1))
    result = mms(folder)
    assert (result.exit_code, counts(result)) == (0, (4, 1, 0))
    unchanged = str(out / "s1" / "001.txt")
    after = identities(out)
    assert after[unchanged] == before[unchanged]
    assert not set(before.values()) - {before[unchanged]} & set(after.values())


@pytest.mark.parametrize(
    "options",
    [
        ["--decoder", "beam"],
        ["--decoder", "beam", "--hotwords", "FOLDER/words"],
        ["--precision", "fp16"],
        ["--channel", "1"],
        ["--allow-truncated"],
        ["--normalization", "running"],
    ],
)
def test_other_options_transcribe_again(mms, folder: Path, options: list[str]) -> None:
    words = folder.parent / "words"
    words.write_text("bed\n")
    chosen = [option.replace("FOLDER", str(folder.parent)) for option in options]
    assert counts(mms(folder)) == (3, 0, 0)
    result = mms(folder, *chosen)
    assert counts(result) == (3, 0, 0), result.stderr
    assert counts(mms(folder, *chosen)) == (0, 3, 0)
    if "--hotwords" in options:
        words.write_text("bee\n")
        assert counts(mms(folder, *chosen)) == (3, 0, 0)


def test_other_language_and_weights_transcribe_again(
    mms, folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert counts(mms(folder)) == (3, 0, 0)
    assert counts(mms(folder, lang="swh")) == (3, 0, 0)
    assert counts(mms(folder, lang="swh")) == (0, 3, 0)
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    assert counts(mms(folder, "--bundle", bundle, lang="swh")) == (0, 3, 0)
    manifest = bundle / "manifest.json"
    document = json.loads(manifest.read_bytes())
    document["source"]["fingerprint"] = "0" * len(document["source"]["fingerprint"])
    manifest.write_text(json.dumps(document))
    assert counts(mms(folder, "--bundle", bundle, lang="swh")) == (0, 0, 3)


def test_options_without_effect_on_the_text_skip(mms, folder: Path) -> None:
    assert counts(mms(folder)) == (3, 0, 0)
    assert counts(mms(folder, "--threads", 1, "--no-verify", "--max-seconds", 60)) == (0, 3, 0)


def test_deleted_transcripts_are_made_again_and_edited_ones_are_kept(
    mms, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mms(folder)
    (out / "s1" / "001.txt").unlink()
    (out / "s1" / "002.txt").write_text(EDITED)
    soundfile.write(folder / "s1" / "002.wav", sound(0.9, 7), RATE)
    result = mms(folder)
    assert (result.exit_code, counts(result)) == (0, (1, 2, 0))
    assert "Kept 1 transcript that --resume did not write, or that changed since" in result.stderr
    assert "s1/002.txt" in result.stderr
    assert files(out)["s1/002.txt"] == EDITED.encode()
    (out / "s1" / "002.txt").unlink()
    assert counts(mms(folder)) == (1, 2, 0)


def test_transcripts_of_a_run_without_resume_are_kept(mms, folder: Path, tmp_path: Path) -> None:
    existing = tmp_path / "out" / "s1" / "001.txt"
    existing.parent.mkdir(parents=True)
    existing.write_text(EDITED)
    assert counts(mms(folder)) == (2, 1, 0)
    assert existing.read_text() == EDITED


def test_moved_recordings_are_skipped(mms, folder: Path, tmp_path: Path) -> None:
    mms(folder)
    moved = folder.rename(tmp_path / "moved")
    assert counts(mms(moved)) == (0, 3, 0)


def test_transcript_of_another_recording_is_refused(mms, folder: Path, tmp_path: Path) -> None:
    """Both are `001`; a command of its own for each does not see the other."""
    assert mms(folder / "s1").exit_code == 0
    before = identities(tmp_path / "out")
    result = mms(folder / "s2")
    assert result.exit_code == 1
    path, one, other = tmp_path / "out" / "001.txt", folder / "s1", folder / "s2"
    assert f"{path} is the transcript of {one}/001.wav, not of {other}/001.wav" in result.stderr
    assert identities(tmp_path / "out") == before


def test_torn_line_of_the_journal_is_ignored(mms, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mms(folder)
    journal, expected = out / JOURNAL, files(out)
    whole = journal.read_bytes()
    last = json.loads(whole.splitlines()[-1])["output"]
    (out / last).unlink()
    journal.write_bytes(whole[:-30])
    assert counts(mms(folder)) == (1, 2, 0)
    assert counts(mms(folder)) == (0, 3, 0)
    assert files(out) == expected
    # A line may also be lost as a whole, with its file in place: that one is not this command's.
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"\0" * 40 + b"\n" + b"".join(lines[1:-1]) + b"[1, 2]\n{}\n")
    result = mms(folder)
    assert result.exit_code == 0
    assert files(out) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("FOLDER --resume --lang eng", "--resume needs a folder: --output FOLDER/"),
        ("FOLDER --resume --lang eng -o FOLDER/x.txt", "--resume needs a folder"),
        ("- --resume --lang eng -o FOLDER/out/", "--resume needs files: standard input"),
        ("--reference FOLDER/list.tsv --resume", "omit --output and --resume"),
    ],
)
def test_resume_without_folder_or_files_is_refused(
    folder: Path, tiny_bundle: Path, arguments: str, message: str
) -> None:
    (folder / "list.tsv").write_text("file\tlang\ttext\ns1/001.wav\teng\tone\n")
    words = arguments.replace("FOLDER", str(folder)).split()
    result = CliRunner().invoke(main, ["transcribe", *words, "--bundle", str(tiny_bundle)])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (folder / "out").exists()


def start(*arguments: object) -> subprocess.Popen[bytes]:
    words = [*MMS, "transcribe", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    return errors.decode()


def test_two_commands_on_one_folder_do_not_disturb_each_other(
    folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Two halves of one list, and the whole list twice more, at the same time."""
    names = [f"clips/{number:03}.wav" for number in range(24)]
    (tmp_path / "clips").mkdir()
    for number, name in enumerate(names):
        soundfile.write(tmp_path / name, sound(0.4, number), RATE)
    tables = {"a": names[:12], "b": names[12:], "c": names, "d": names[::-1]}
    for table, rows in tables.items():
        content = "".join(f"{row}\teng\n" for row in rows)
        (tmp_path / f"{table}.tsv").write_text(f"file\tlang\n{content}")
    options = ["--bundle", tiny_bundle, "--threads", 1, "--resume", "--output"]
    alone, out = tmp_path / "alone", tmp_path / "out"
    finish(start("--list", tmp_path / "c.tsv", *options, f"{alone}/"))
    running = [start("--list", tmp_path / f"{t}.tsv", *options, f"{out}/") for t in tables]
    for process in running:
        assert finish(process).endswith(" 0 failed\n")
    assert files(out) == files(alone)
    assert len(files(out)) == 24
    lines = (out / JOURNAL).read_text().splitlines()
    assert {json.loads(line)["output"] for line in lines} == set(files(out))
    assert len(lines) == 24  # none was written twice
    before = identities(out)
    assert finish(start("--list", tmp_path / "c.tsv", *options, f"{out}/")).startswith("0 trans")
    assert identities(out) == before


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a signal of POSIX")
def test_kill_at_any_moment_loses_and_repeats_nothing(demo_bundle: Path, tmp_path: Path) -> None:
    """20 kills: half at moments spread over a run, half just as transcripts appear."""
    folder = tmp_path / "recordings"
    for number, clip in enumerate(demo_clips()[:12]):
        path = folder / f"s{number % 3}" / f"{number:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, read_audio(clip.path).samples[: 8000 + 1000 * number], RATE)
    command = [folder, "--bundle", demo_bundle, "--lang", "eng", "--no-verify", "--resume", "-o"]
    began = time.monotonic()
    finish(start(*command, f"{tmp_path / 'alone'}/"))
    duration = time.monotonic() - began
    expected = files(tmp_path / "alone")
    assert len(expected) == 12

    randomness, rounds, whole = random.Random(1), 0, {}  # noqa: S311
    out = tmp_path / "out0"
    for kill in range(20):
        if len(whole) == 12:
            rounds, whole = rounds + 1, {}
            out = tmp_path / f"out{rounds}"
        process = start(*command, f"{out}/")
        if kill % 2:
            time.sleep(randomness.uniform(0.2, 1.0) * duration)
        else:
            more = len(whole) + randomness.randint(1, 3)
            while process.poll() is None and len(list(out.rglob("*.txt"))) < min(more, 12):
                time.sleep(0.0005)
            time.sleep(randomness.uniform(0, 0.004))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = {name: content for name, content in files(out).items() if name[0] != "."}
        found = {name: content for name, content in found.items() if ".partial" not in name}
        assert found.items() <= expected.items()
        now = identities(out)
        assert whole.items() <= now.items()  # what was whole is untouched
        whole = now
    for number in range(rounds + 1):
        before = identities(tmp_path / f"out{number}")
        finish(start(*command, f"{tmp_path / f'out{number}'}/"))
        assert files(tmp_path / f"out{number}") == expected
        assert before.items() <= identities(tmp_path / f"out{number}").items()


def test_speech_of_changed_bytes_only_is_read_once(mms, folder: Path) -> None:
    """A recording that changes while it is transcribed is transcribed again by the next run."""
    path = folder / "s1" / "001.wav"
    status = path.stat()
    assert counts(mms(folder)) == (3, 0, 0)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert counts(mms(folder)) == (1, 2, 0)
    np.testing.assert_equal(path.stat().st_mtime_ns, status.st_mtime_ns + 1)
