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

from export_runs import command, digests, edit_tensors, run_export
from mms_engine.bundle import MANIFEST, open_bundle
from mms_engine.errors import BundleError
from mms_export.bundle import contents, pipeline
from mms_export.bundle.workspace import JOURNAL, locked
from tiny_models import LANGUAGES

FIRST, *_, LAST = LANGUAGES


def test_insufficient_disk_is_reported_before_writing(checkpoint, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(contents.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(BundleError, match=r"has 1\.05 MB free, the export needs 67"):
        run_export(checkpoint, tmp_path / "b")
    assert not (tmp_path / "b" / "adapters").exists()


def test_concurrent_export_is_refused(checkpoint, tmp_path):
    with locked(tmp_path), pytest.raises(BundleError, match="another process is writing to"):
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


def foreign_files(out: Path) -> dict[Path, bytes]:
    """Files of someone else in a bundle's folder, with names like those of an export."""
    names = ("a.partial", "graphs/b.partial", "plans/c.plan", "adapters/d.safetensors", "notes.txt")
    names += (".e.0123abcd.partial", "graphs/.encoder.fp32.onnx.0123abcd.partial", "voices/f/g.txt")
    files = {out / name: f"someone's {name}".encode() for name in names}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return files


@pytest.mark.parametrize("again", [False, True])
def test_foreign_files_stay(checkpoint, other_checkpoint, tmp_path, again):
    files = foreign_files(tmp_path / "b")
    run_export(checkpoint, tmp_path / "b")
    run_export(other_checkpoint if again else checkpoint, tmp_path / "b", replace=again)
    assert open_bundle(tmp_path / "b").problems() == []
    assert {path: path.read_bytes() for path in files} == files


@pytest.fixture
def other_checkpoint(checkpoint, tmp_path):
    """Other weights, with one language fewer."""
    other = Path(shutil.copytree(checkpoint, tmp_path / "other"))
    name = "wav2vec2.feature_projection.layer_norm.bias"
    edit_tensors(other / "model.safetensors", lambda tensors: tensors[name].add_(1))
    (other / f"adapter.{LAST}.safetensors").unlink()
    return other


def test_replacing_removes_what_the_former_manifest_names(checkpoint, other_checkpoint, tmp_path):
    run_export(checkpoint, tmp_path / "b")
    former = tmp_path / "b" / "adapters" / f"{LAST}.safetensors"
    assert former.exists()
    run_export(other_checkpoint, tmp_path / "b", replace=True)
    assert not former.exists()
    assert open_bundle(tmp_path / "b").problems() == []


@pytest.mark.parametrize("name", ["graphs/encoder.fp32.onnx", f"adapters/{FIRST}.safetensors"])
def test_foreign_file_in_the_place_of_a_part_is_refused(checkpoint, tmp_path, name):
    path = tmp_path / "b" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"foreign")
    with pytest.raises(BundleError, match=rf"{name} is there already and was not written"):
        run_export(checkpoint, tmp_path / "b")
    assert path.read_bytes() == b"foreign"
    assert [p for p in (tmp_path / "b").rglob("*") if p.is_file()] == [path]
    run_export(checkpoint, tmp_path / "b", replace=True)
    assert open_bundle(tmp_path / "b").problems() == []


def test_partial_files_of_a_killed_export_are_removed_by_the_next(checkpoint, tmp_path):
    """Killed in the middle of a graph: its partial file goes, a file of the same look stays."""
    program = (
        "import os, signal\nfrom mms_export.graphs import writer\n"
        "def write(weight):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "writer.INLINE_TOTAL = writer.INLINE_TENSOR = 0\nwriter.checked = write\n"
        "from mms_export.cli import main; main()"
    )
    given = ["--model", str(checkpoint), "--out", str(tmp_path / "b"), "--precision", "fp32"]
    result = subprocess.run([sys.executable, "-c", program, *given], capture_output=True)
    assert result.returncode == -signal.SIGKILL
    (partial,) = (tmp_path / "b").rglob("*.partial")
    assert partial.name.startswith(".")
    foreign = partial.with_name(f".{partial.name.split('.')[1]}.0123abcd.partial")
    foreign.write_bytes(b"foreign")
    run_export(checkpoint, tmp_path / "b")
    assert list((tmp_path / "b").rglob("*.partial")) == [foreign]
    assert open_bundle(tmp_path / "b").problems() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_export_and_its_workers(checkpoint, tmp_path, number):
    process = subprocess.Popen(
        command(checkpoint, tmp_path / "b"), stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.time() + 60
    while not (tmp_path / "b" / JOURNAL).exists() and time.time() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"Traceback" not in errors
    assert b"interrupted: run the same command again to continue" in errors
    assert not list((tmp_path / "b").rglob("*.partial"))
