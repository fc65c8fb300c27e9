"""Tests of `mms transcribe --ray`: recordings in bulk on a cluster, killed and resumed; URLs."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine_demo import demo_clips
from mms_engine.cli import main

_COMMAND = [sys.executable, "-c", "from mms_engine.cli import main; main()", "transcribe"]
_COPIES = 4


def on_cluster(*options: object) -> subprocess.Popen[str]:
    """Start a command in a process of its own, of which Ray makes a driver."""
    command = [*_COMMAND, "--format", "json", *map(str, options)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the messages of a command."""
    with process:
        _, messages = process.communicate(timeout=120)
    return process.returncode, messages


def alone(*options: object) -> tuple[int, str]:
    """Return the exit code and the messages of a command in this process."""
    arguments = ["transcribe", "--format", "json", *map(str, options)]
    found = CliRunner().invoke(main, arguments)
    return found.exit_code, found.stderr


def transcripts(folder: Path) -> dict[str, bytes]:
    found = sorted(folder.rglob("*.json"))
    return {str(one.relative_to(folder)): one.read_bytes() for one in found}


def counts(messages: str) -> list[int]:
    """Return the numbers of recordings that were transcribed, skipped and failed."""
    line = messages.splitlines()[-1]
    return [int(n) for n in re.findall(r"(\d+) (?:transcribed|skipped|failed)", line)]


@pytest.fixture
def clip() -> Path:
    return demo_clips()[0].path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in five languages, some to be identified or by URL, and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    rows = ["file\tlang"]
    for clip in demo_clips():
        for number in range(_COPIES):
            name = f"{clip.path.stem}-{number}.flac"
            shutil.copyfile(clip.path, folder / name)
            location = f"file://{folder / name}" if number == 0 else name
            rows.append(f"{location}\t{'auto' if number == 1 else clip.language}")
    (folder / "damaged.flac").write_bytes(bytes(1000))
    rows.append("damaged.flac\teng")
    (folder / "clips.tsv").write_text("\n".join(rows) + "\n")
    return folder / "clips.tsv"


def test_killed_run_is_resumed_and_equals_that_of_one_machine(
    address: str, demo_bundle: Path, demo_lid: Path, table: Path, tmp_path: Path
) -> None:
    arguments = ("--list", table, "--bundle", demo_bundle, "--identifier", demo_lid, "--resume")
    _, messages = alone(*arguments, "--output", f"{tmp_path / 'alone'}/")
    out = tmp_path / "cluster"
    arguments = (*arguments, "--output", f"{out}/", "--ray", address, "--actors", 2)
    with on_cluster(*arguments) as first:
        end = time.monotonic() + 60
        while not transcripts(out):
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        first.kill()
    early = transcripts(out)
    _, resumed = ended(on_cluster(*arguments))
    recordings = len(demo_clips()) * _COPIES
    assert counts(messages) == [recordings, 0, 1]
    done, skipped, failed = counts(resumed)
    assert (done + skipped, failed) == (recordings, 1)
    assert len(early) <= skipped < recordings
    assert transcripts(out) == transcripts(tmp_path / "alone")
    error = next(line for line in messages.splitlines() if "damaged.flac" in line)
    assert error in resumed


def test_actors_that_do_not_fit_are_one_line(address: str, demo_bundle: Path, clip: Path) -> None:
    options = ("--lang", "eng", "--bundle", demo_bundle, "--ray", address, "--actors", 500)
    code, messages = ended(on_cluster(clip, *options))
    assert code == 1
    assert "the cluster has room for" in messages.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-", "--ray", "local"), "needs files"),
        (("a.flac", "--actors", "2"), "--actors needs --ray"),
    ],
)
def test_wrong_options_are_one_line(options, message, demo_bundle: Path) -> None:
    code, messages = alone("--lang", "eng", "--bundle", demo_bundle, *options)
    assert code == 2
    assert message in messages.splitlines()[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of a folder: its URL and the folder."""
    folder = tmp_path / "site"
    (folder / "talks" / "one").mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", folder
        finally:
            server.shutdown()
            thread.join()


def test_folder_of_a_web_server_is_transcribed_and_resumed(
    site: tuple[str, Path], demo_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    url, folder = site
    first, second = (
        one for one in demo_clips() if one.language == "eng" and "dir" not in one.path.stem
    )
    shutil.copyfile(first.path, folder / "talks" / "first.flac")
    shutil.copyfile(second.path, folder / "talks" / "one" / "second.flac")
    (folder / "talks" / "notes.txt").write_text("no audio")
    out = tmp_path / "out"
    arguments = (f"{url}talks/", "--lang", "eng", "--bundle", demo_bundle)
    arguments = (*arguments, "--resume", "--output", f"{out}/")
    _, messages = alone(*arguments)
    assert counts(messages) == [2, 0, 0], messages
    assert "notes.txt" in messages
    assert list(transcripts(out)) == ["first.json", "one/second.json"]
    assert counts(alone(*arguments)[1]) == [0, 2, 0]
    shutil.copyfile(second.path, folder / "talks" / "first.flac")
    assert counts(alone(*arguments)[1]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://127.0.0.1:1/a.flac", "does not exist or cannot be reached"),
        (
            "file:///nowhere/a.flac",
            "file:///nowhere/a.flac does not exist or cannot be reached: check the URL",
        ),
        ("unheard://a/b.flac", "unheard://a/b.flac cannot be read: Protocol not known"),
        ("file:///nowhere/", "contains no recordings"),
    ],
)
def test_url_that_cannot_be_read_is_one_line(location, message, demo_bundle: Path) -> None:
    pytest.importorskip("aiohttp")
    code, messages = alone(location, "--lang", "eng", "--bundle", demo_bundle)
    assert code in (1, 2)
    assert message in messages.splitlines()[-1]
