"""Packed weights: same bits, written behind the first run, never required, checked."""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from engine_sounds import sound
from mms_engine import Recognizer, RecognizerOptions
from mms_engine.backends import ort, packed, packing
from mms_engine.backends.packed import PackedGraph
from mms_engine.backends.session import GraphFile
from mms_engine.bundle import open_bundle, stamps
from mms_engine.bundle.files import describe
from mms_engine.cli import main
from mms_engine.encoder.emission import Segment
from mms_engine.errors import BackendError, BundleCorrupt


def with_external_weights(tiny_bundle: Path, folder: Path, note: str = "") -> Path:
    """Return a copy of a bundle whose encoder has its weights in a file of their own."""
    shutil.copytree(tiny_bundle, folder)
    path = folder / "graphs" / "encoder.fp32.onnx"
    model = onnx.load(path)
    model.doc_string = note
    onnx.save_model(
        model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024
    )
    files = [describe(folder, path), describe(folder, path.with_suffix(".onnx.data"))]
    content = json.loads((folder / "manifest.json").read_bytes())
    for graph in content["graphs"]:
        if (graph["name"], graph["precision"]) == ("encoder", "fp32"):
            graph["files"] = [dataclasses.asdict(file) for file in files]
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose encoder has its weights in a file of their own, as large ones have."""
    return with_external_weights(tiny_bundle, tmp_path / "tiny")


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of small weights are worth it too, and files need not be old for a stamp."""
    monkeypatch.setattr(packed, "_LEAST_BYTES", 1)
    monkeypatch.setattr(stamps, "_SETTLED_NS", 0)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are written by this process, which takes less time than another."""

    def write(self: PackedGraph, bundle: Path) -> None:
        if self._is_due():
            packing.write(bundle, self.source.graph.name, self.source.graph.precision)

    monkeypatch.setattr(PackedGraph, "write_behind", write)


def logits(bundle: Path, **options: object) -> np.ndarray:
    """Run one clip, and wait for the process that writes a copy behind it."""
    with Recognizer.open(bundle, device="cpu", threads=1, **options) as recognizer:
        (found,) = recognizer.acoustic.logits([Segment(sound(1.0), "eng")])
    for thread in threading.enumerate():
        if thread.name == "mms-packing":
            thread.join(120)
    return found


def place(bundle: Path) -> PackedGraph:
    return PackedGraph.at(GraphFile(*open_bundle(bundle).graph("encoder", "fp32")))


@pytest.fixture
def loaded(names_given: Callable[[object, str], list[str]]) -> list[str]:
    """Names of the graphs that ONNX Runtime loads from now on."""
    return names_given(ort, "_create")


def test_copy_is_written_behind_the_first_run_and_gives_the_same_bits(
    bundle: Path, loaded: list[str]
) -> None:
    plain = logits(bundle)
    assert loaded == ["frontend.fp32.onnx", "encoder.fp32.onnx"]
    folder = place(bundle).folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "entry.json",
        "model.onnx",
        "weights.bin",
    ]
    assert [path.suffix for path in sorted(folder.parent.iterdir())] == ["", ".lock"]
    loaded.clear()
    assert np.array_equal(logits(bundle), plain)
    assert loaded == ["frontend.fp32.onnx", "model.onnx"]
    loaded.clear()
    logits(bundle, options=RecognizerOptions(verify=True))
    assert loaded[-1] == "encoder.fp32.onnx", "--verify runs what the manifest describes"


@pytest.mark.usefixtures("here")
def test_copy_was_hashed_when_it_was_written(bundle: Path, hashed: list[str]) -> None:
    logits(bundle)
    hashed.clear()
    logits(bundle)
    assert not {"model.onnx", "weights.bin"} & set(hashed)


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "entry.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.usefixtures("here")
def test_damaged_copy_is_not_used(
    bundle: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = logits(bundle)
    path = place(bundle).folder / name
    content = bytearray(path.read_bytes())
    before = path.stat()
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(logits(bundle), plain)
    if name != "entry.json":
        assert "packed weights" in caplog.text
        assert not place(bundle).folder.exists()


@pytest.mark.usefixtures("here")
def test_tampered_bundle_is_found_although_its_copy_is_whole(bundle: Path) -> None:
    logits(bundle)
    path = bundle / "graphs" / "encoder.fp32.onnx.data"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleCorrupt, match=r"onnx\.data does not have the SHA-256"):
        logits(bundle)


@pytest.mark.parametrize("other", ["cpu_info", "installed_version"])
def test_other_processor_or_release_has_a_copy_of_its_own(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    folder = place(bundle).folder
    monkeypatch.setattr(packed, other, lambda *_: "another")
    assert place(bundle).folder != folder


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
@pytest.mark.usefixtures("here")
def test_copy_that_others_could_write_is_not_used(bundle: Path, loaded: list[str]) -> None:
    logits(bundle)
    for folder in (place(bundle).folder, place(bundle).folder.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.chmod(0o720)
        loaded.clear()
        logits(bundle)
        assert "encoder.fp32.onnx" in loaded
        folder.chmod(0o700)


@pytest.mark.usefixtures("here")
def test_limit_of_none_or_too_little_keeps_none(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gigabytes in ("0", "1e-6"):
        monkeypatch.setenv("MMS_PACKED_GB", gigabytes)
        logits(bundle)
        assert not packed.packed_folder().exists()
    monkeypatch.setenv("MMS_PACKED_GB", "much")
    with pytest.raises(BackendError, match="MMS_PACKED_GB is 'much': set it to the gigabytes"):
        logits(bundle)
    result = CliRunner().invoke(main, ["doctor", "--bundle", str(bundle)])
    assert result.exit_code == 1
    assert "broken  packed weights        MMS_PACKED_GB is 'much'" in result.stdout


@pytest.mark.parametrize("short", ["memory", "disk"])
@pytest.mark.usefixtures("here")
def test_short_memory_or_disk_keeps_none(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    if short == "memory":
        monkeypatch.setattr(packed, "available_memory", lambda: 1000)
    else:
        usage = shutil.disk_usage("/")
        monkeypatch.setattr(packed.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    logits(bundle)
    assert not packed.packed_folder().exists()


@pytest.mark.usefixtures("here")
def test_least_recently_used_copy_makes_room(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits(bundle)
    first = place(bundle).folder
    second = Path(shutil.copytree(first, first.with_name("b" * 32)))
    size = packed.entries()[first].size
    os.utime(first, (1, 1))
    monkeypatch.setenv("MMS_PACKED_GB", str(2.5 * size / 1e9))
    packed.make_room(size // 2)
    assert list(packed.entries()) == [first, second]
    packed.make_room(size)
    assert list(packed.entries()) == [second]


def test_copies_that_are_written_at_once_stay_within_the_limit(
    tiny_bundle: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = with_external_weights(tiny_bundle, tmp_path / "other", "other")
    packing.write(bundle, "encoder", "fp32")
    size = packed.entries()[place(bundle).folder].size
    packed.clear()
    monkeypatch.setenv("MMS_PACKED_GB", str(1.5 * size / 1e9))
    save, both = packing.save_packed, threading.Barrier(2)

    def save_beside_the_other(*arguments: object) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(2)
        save(*arguments)

    monkeypatch.setattr(packing, "save_packed", save_beside_the_other)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: packing.write(one, "encoder", "fp32"), (bundle, other)))
    assert len(packed.entries()) == 1


@pytest.mark.parametrize("own", [True, False])
def test_killed_writer_leaves_nothing_that_stays(bundle: Path, own: bool) -> None:
    target = place(bundle)
    killed = target.folder if own else target.folder.with_name("b" * 32)
    partial = killed.with_suffix(".partial")
    partial.mkdir(parents=True, mode=0o700)
    target.folder.parent.chmod(0o700)
    (partial / "weights.bin").write_bytes(b"half")
    packing.write(bundle, "encoder", "fp32")
    assert target.entry is not None
    assert not partial.exists()


def test_failed_attempt_is_repeated_after_an_hour_only(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    target = place(bundle)
    monkeypatch.setattr(packed.subprocess, "Popen", lambda *_, **__: started.append(1) or 1 / 0)
    target.folder.parent.mkdir(parents=True)
    target.lock.touch()
    target.write_behind(bundle)
    assert not started
    old = time.time() - 3601
    os.utime(target.lock, (old, old))
    with pytest.raises(ZeroDivisionError):
        target.write_behind(bundle)


@pytest.mark.usefixtures("here")
def test_doctor_shows_and_clears(bundle: Path) -> None:
    logits(bundle)
    arguments = ["doctor", "--bundle", str(bundle)]
    shown = CliRunner().invoke(main, arguments).stdout
    assert "ok      packed weights" in shown
    assert "tiny encoder fp32; --clear-cache removes them" in shown
    result = CliRunner().invoke(main, [*arguments, "--clear-cache"])
    assert "GB of packed weights and compiled kernels, and" in result.stderr
    assert "none kept; 16 GB allowed (MMS_PACKED_GB)" in result.stdout
    assert not packed.packed_folder().exists()
