"""Exports that are killed, run out of disk, or run at the same time."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from export_runs import command, digests, run_export
from mms_engine.bundle import MANIFEST, open_bundle
from mms_engine.errors import BundleError
from mms_export.bundle import contents, pipeline
from mms_export.bundle.workspace import JOURNAL, locked
from tiny_models import LANGUAGES


def test_insufficient_disk_is_reported_before_writing(checkpoint, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(contents.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(BundleError, match=r"has 1\.05 MB free, the export needs 67"):
        run_export(checkpoint, tmp_path / "b")
    assert not (tmp_path / "b" / "adapters").exists()


def test_concurrent_export_is_refused(checkpoint, tmp_path):
    with locked(tmp_path), pytest.raises(BundleError, match="another export is writing to"):
        run_export(checkpoint, tmp_path)


def test_folder_that_cannot_be_created(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"cannot write to .*file/b: Not a directory"):
        run_export(checkpoint, tmp_path / "file" / "b")


def test_folder_without_permission(checkpoint):
    """Run as another user when the tests run as root, for whom every folder is writable."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readable = Path(shutil.copytree(checkpoint, folder / "model"))
        closed = folder / "closed"
        closed.mkdir()
        for path in (folder, readable, closed, *readable.iterdir()):
            path.chmod(0o555)
        given = ["--model", str(readable), "--out", str(closed), "--precision", "fp32"]
        # Imports come first: the other user may not have access to the libraries.
        program = (
            "import os, mms_export.bundle.pipeline; from mms_export.cli import main;"
            "os.geteuid() or os.setuid(65534); main()"
        )
        result = subprocess.run(
            [sys.executable, "-c", program, *given], capture_output=True, text=True
        )
        folder.chmod(0o755)
        closed.chmod(0o755)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"Error: cannot write to {closed}: permission denied"


def test_incomplete_journal_line_is_ignored(checkpoint, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "export_graph", stop)
    with pytest.raises(KeyboardInterrupt):
        run_export(checkpoint, tmp_path / "b")
    monkeypatch.undo()
    journal = tmp_path / "b" / JOURNAL
    assert journal.read_bytes().count(b"\n") == 1 + len(LANGUAGES)
    journal.write_bytes(journal.read_bytes()[:-20])
    run_export(checkpoint, tmp_path / "b")
    assert open_bundle(tmp_path / "b").problems() == []
    assert not journal.exists()


def test_killed_at_random_and_resumed(checkpoint, bundle, tmp_path):
    """SIGKILL at random times: a bundle that opens is whole, and the result has equal bytes."""
    chance = random.Random(2)  # noqa: S311 - nothing secret
    fresh, out = tmp_path / "fresh", tmp_path / "b"
    start = time.perf_counter()
    subprocess.run(command(checkpoint, fresh), check=True, capture_output=True)
    duration = time.perf_counter() - start
    kills = 0
    while kills < 5:
        process = subprocess.Popen(
            command(checkpoint, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=chance.uniform(0.3, 0.95) * duration)
            shutil.rmtree(out)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        if (out / MANIFEST).exists():
            assert open_bundle(out).problems() == []
    subprocess.run(command(checkpoint, out), check=True, capture_output=True)
    found, whole = digests(out), digests(bundle)
    assert found == digests(fresh)
    assert all(found[name] == whole[name] for name in found if name != MANIFEST)


def test_ctrl_c_exits_with_130_without_traceback(checkpoint, tmp_path):
    process = subprocess.Popen(
        command(checkpoint, tmp_path / "b"), stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.time() + 60
    while not (tmp_path / "b").exists() and time.time() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"interrupted" in errors


def test_full_disk(checkpoint, tmp_path):
    """A limit on file sizes simulates a full disk: the same error from the same call."""
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000));"
        "from mms_export.cli import main; main()"
    )
    given = ["--model", str(checkpoint), "--out", str(tmp_path / "b"), "--precision", "fp32"]
    result = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("Error")]
    assert "cannot write" in line
    assert "run the same command again to continue" in line
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "b" / MANIFEST).exists()
    run_export(checkpoint, tmp_path / "b")
    assert open_bundle(tmp_path / "b").problems() == []
