"""`mms transcribe` of folders and lists: what is read, and where its transcript goes."""

import os
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

from engine_sounds import RATE, sound
from mms_engine.cli import main


@pytest.fixture
def mms(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        words = ["transcribe", "--bundle", str(tiny_bundle), *map(str, arguments)]
        return CliRunner().invoke(main, words)

    return run


def record(*paths: Path) -> None:
    """Write recordings of 0.5 s."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound(0.5, number), RATE)


def listed(folder: Path) -> list[str]:
    """Return every file below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_skipped_files_are_named_once(mms, tmp_path: Path) -> None:
    record(tmp_path / "rec" / "a.wav")
    names = ["b.txt", "c.jpg", "d.json", "e.csv", "sub/f.srt"]
    for name in names:
        (tmp_path / "rec" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "rec" / name).write_text("not a recording")
    result = mms("rec", "--lang", "eng")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert result.stderr == (
        "Skipped 5 files without audio: rec/b.txt, rec/c.jpg, rec/d.json and 2 more "
        "(--show-skipped lists all)\n"
    )
    every = ", ".join(f"rec/{name}" for name in names)
    result = mms("rec", "--lang", "eng", "--show-skipped")
    assert result.stderr == f"Skipped 5 files without audio: {every}\n"


def test_hidden_files_and_the_output_folder_are_not_read(mms, tmp_path: Path) -> None:
    rec = tmp_path / "rec"
    record(rec / "a.wav", rec / ".hidden.wav", rec / ".folder" / "b.wav", rec / "out" / "old.wav")
    for _ in range(2):
        result = mms("rec", "--lang", "eng", "-o", "rec/out/")
        assert (result.exit_code, result.stderr) == (0, "")
        assert listed(rec / "out") == ["a.txt", "old.wav"]
    # Beside the recordings, transcripts of an earlier run are not named as skipped.
    for _ in range(2):
        result = mms("rec", "--lang", "eng", "-o", "rec/", "--resume")
        assert (result.exit_code, result.stderr.count("Skipped")) == (0, 1)
        assert "Skipped 1 file without audio: rec/out/a.txt\n" in result.stderr
    assert (rec / "out" / "old.txt").exists()


def test_links_are_followed_and_loops_end(mms, tmp_path: Path) -> None:
    rec, elsewhere = tmp_path / "rec", tmp_path / "elsewhere"
    record(rec / "b" / "1.wav", elsewhere / "2.wav")
    (rec / "a_link").symlink_to(elsewhere)
    (rec / "b" / "up").symlink_to(rec)
    (rec / "self").symlink_to("self")
    (elsewhere / "back").symlink_to(rec / "b")
    (rec / "c.wav").symlink_to(rec / "b" / "1.wav")
    (rec / "gone.wav").symlink_to("nowhere")
    result = mms("rec", "--lang", "eng")
    assert result.exit_code == 0
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert names == ["rec/a_link/2.wav", "rec/b/1.wav", "rec/c.wav"]
    assert result.stderr == "Skipped 2 files without audio: rec/gone.wav, rec/self\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads any folder")
def test_folder_that_cannot_be_listed_is_a_failure(mms, tmp_path: Path) -> None:
    record(tmp_path / "rec" / "a.wav", tmp_path / "rec" / "closed" / "b.wav")
    (tmp_path / "rec" / "closed").chmod(0)
    result = mms("rec", "--lang", "eng")
    assert (result.exit_code, result.stdout.count("\n")) == (1, 1)
    assert "Error: cannot list rec/closed: Permission denied" in result.stderr


def test_folder_that_vanishes_from_the_search_is_a_failure(
    mms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as above, for root too."""
    record(tmp_path / "rec" / "a.wav", tmp_path / "rec" / "closed" / "b.wav")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = mms("rec", "--lang", "eng")
    assert (result.exit_code, result.stdout.count("\n")) == (1, 1)
    lines = result.stderr.splitlines()
    assert lines[0] == "Error: cannot list rec/closed: Permission denied"
    assert lines[-1] == "Error: 0 of 1 recordings failed, 1 folder could not be listed"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("rec", ["s1/001.txt", "s1/002.txt", "s2/001.txt"]),
        ("rec/", ["s1/001.txt", "s1/002.txt", "s2/001.txt"]),
        ("rec/s1 rec/s2", ["s1/001.txt", "s1/002.txt", "s2/001.txt"]),
        ("rec/s1", ["001.txt", "002.txt"]),
        ("rec/s1/001.wav rec/s2/001.wav", ["s1/001.txt", "s2/001.txt"]),
        ("rec/s1/001.wav rec/s1/002.wav", ["001.txt", "002.txt"]),
        ("rec/s1/001.wav", ["001.txt"]),
        ("./rec/../rec/s1/001.wav rec/s2", ["s1/001.txt", "s2/001.txt"]),
        ("ROOT/rec/s1/001.wav rec/s2/001.wav", ["s1/001.txt", "s2/001.txt"]),
        ("rec/s1 top.wav", ["rec/s1/001.txt", "rec/s1/002.txt", "top.txt"]),
    ],
)
def test_relative_folders_are_kept(
    mms, tmp_path: Path, arguments: str, expected: list[str]
) -> None:
    rec = tmp_path / "rec"
    record(rec / "s1" / "001.wav", rec / "s1" / "002.wav", rec / "s2" / "001.wav")
    record(tmp_path / "top.wav")
    words = arguments.replace("ROOT", str(tmp_path)).split()
    result = mms(*words, "--lang", "eng", "-o", "out/")
    assert (result.exit_code, result.stderr) == (0, "")
    assert listed(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["s1/001.wav", "s2/001.wav"], ["s1/001.txt", "s2/001.txt"]),
        (["s1/001.wav"], ["s1/001.txt"]),
        (["./s1/../s1/001.wav"], ["s1/001.txt"]),
        (["ROOT/lists/s1/001.wav"], ["s1/001.txt"]),
        (["../rec/001.wav", "s1/001.wav"], ["lists/s1/001.txt", "rec/001.txt"]),
        (["../rec/001.wav", "ROOT/rec/002.wav"], ["001.txt", "002.txt"]),
        (["ROOT/rec/001.wav"], ["001.txt"]),
        (["../../../../../../../../..ROOT/rec/001.wav"], ["001.txt"]),
    ],
)
def test_lists_keep_relative_paths_and_never_leave_the_folder(
    mms, tmp_path: Path, rows: list[str], expected: list[str]
) -> None:
    lists, rec = tmp_path / "lists", tmp_path / "rec"
    record(lists / "s1" / "001.wav", lists / "s2" / "001.wav", rec / "001.wav", rec / "002.wav")
    content = "".join(f"{row.replace('ROOT', str(tmp_path))}\teng\n" for row in rows)
    (lists / "list.tsv").write_text(f"file\tlang\n{content}")
    before = listed(tmp_path)
    result = mms("--list", "lists/list.tsv", "-o", "out/")
    assert (result.exit_code, result.stderr) == (0, "")
    assert listed(tmp_path / "out") == expected
    assert [name for name in listed(tmp_path) if not name.startswith("out/")] == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.wav", "a.flac"),
        ("a.wav", "A.wav"),
        ("\u00e9.wav", "e\u0301.wav"),
        ("s/a.wav", "S/a.wav"),
    ],
)
def test_recordings_of_one_transcript_are_refused_by_name(
    mms, tmp_path: Path, one: str, other: str
) -> None:
    record(tmp_path / "rec" / one, tmp_path / "rec" / other)
    if len(listed(tmp_path / "rec")) == 1:
        pytest.skip("the file system takes both names for one")
    result = mms("rec", "--lang", "eng", "-o", "out/")
    assert (result.exit_code, result.stdout) == (2, "")
    for text in (f"rec/{one}", f"rec/{other}", "rename one, or transcribe them into separate"):
        assert text in result.stderr
    assert not (tmp_path / "out").exists()
    assert mms("rec", "--lang", "eng").exit_code == 0


def test_transcript_that_would_be_a_folder_is_refused(mms, tmp_path: Path) -> None:
    record(tmp_path / "rec" / "a.wav", tmp_path / "rec" / "a.txt" / "b.wav")
    result = mms("rec", "--lang", "eng", "-o", "out/")
    assert result.exit_code == 2
    assert "out/a.txt, the transcript of rec/a.wav, would be a folder" in result.stderr


def test_only_suffixes_of_media_are_cut(mms, tmp_path: Path) -> None:
    record(*(tmp_path / "rec" / f"2026.11.{day}.wav" for day in (1, 2)))
    for day in (1, 2):
        name = tmp_path / "rec" / f"2026.11.{day}"
        name.with_name(f"{name.name}.wav").rename(name)
    assert mms("rec", "--lang", "eng", "-o", "out/").exit_code == 0
    assert listed(tmp_path / "out") == ["2026.11.1.txt", "2026.11.2.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_list_with_byte_order_mark_and_any_line_ends(
    mms, tmp_path: Path, encoding: str, newline: str
) -> None:
    record(tmp_path / "é.wav")
    text = newline.join(["file\tlang\ttext", "é.wav\teng\tété", ""])
    (tmp_path / "list.tsv").write_bytes(text.encode(encoding))
    for option in ("--list", "--reference"):
        result = mms(option, "list.tsv")
        assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 3), ("utf-16", 1)])
def test_list_in_another_encoding_is_one_error_with_the_line(
    mms, tmp_path: Path, encoding: str, line: int
) -> None:
    content = "file\tlang\na.wav\teng\né.wav\teng\n".encode(encoding)
    (tmp_path / "list.tsv").write_bytes(content)
    result = mms("--list", "list.tsv")
    assert result.exit_code == 2
    message = f"list.tsv, line {line}: not UTF-8"
    assert message in " ".join(result.stderr.split())
    assert "save the table in UTF-8" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file\tlang\n\x00.wav\teng\n", "line 2"),
        (b"file\tlang\n" + b"x" * 200_000 + b"\teng\n", "line 2"),
    ],
)
def test_list_with_impossible_fields_is_refused(
    mms, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "list.tsv").write_bytes(content)
    result = mms("--list", "list.tsv")
    assert result.exit_code == 2
    assert message in result.stderr
