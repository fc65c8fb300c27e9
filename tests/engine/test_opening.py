"""Opening of bundles: files are hashed once, beside loading, and never used when damaged."""

import dataclasses
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine_sounds import sound
from mms_engine import Recognizer
from mms_engine.backends import registry
from mms_engine.backends.registry import Choice, open_graph
from mms_engine.bundle import open_bundle, stamps, verification
from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import File
from mms_engine.bundle.verification import Verifier
from mms_engine.cli import main
from mms_engine.errors import BackendError, BundleCorrupt

CPU = Choice("ort-cpu", "cpu", "")


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need not be two seconds old for a stamp."""
    monkeypatch.setattr(stamps, "_SETTLED_NS", 0)


def use(bundle: Path, **options: object) -> None:
    with Recognizer.open(bundle, device="cpu", **options) as recognizer:
        recognizer.transcribe(sound(0.5), "eng")


USED = ["eng.safetensors", "encoder.fp32.onnx", "frontend.fp32.onnx"]


def test_files_are_hashed_once_and_anew_with_verify(bundle: Path, hashed: list[str]) -> None:
    use(bundle)
    assert sorted(hashed) == sorted(USED)
    hashed.clear()
    use(bundle)
    assert hashed == []
    clip = ["stream", "-", "--bundle", str(bundle), "--lang", "eng", "--sample-rate", "16000"]
    for options, expected in (([], 0), (["--no-verify"], 0), (["--verify"], 1)):
        hashed.clear()
        result = CliRunner().invoke(main, [*clip, *options], input=bytes(32_000))
        assert (result.exit_code, hashed.count("encoder.fp32.onnx")) == (0, expected), result.stderr
    hashed.clear()
    assert open_bundle(bundle).problems() == []
    assert set(USED) < set(hashed), "problems() trusts no stamp"


def wait_for_clock(path: Path) -> None:
    """Wait until the file system's clock has passed a file's last change: `settled` is off here."""
    probe = path.with_suffix(".probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            return probe.unlink()


def replaced_in_place(path: Path, content: bytes) -> None:
    """Overwrite a file and set its times back."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def replaced_by_rename(path: Path, content: bytes) -> None:
    """Put another file of the same times in its place."""
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("replace", [replaced_in_place, replaced_by_rename])
@pytest.mark.parametrize("name", ["graphs/encoder.fp32.onnx", "adapters/eng.safetensors"])
def test_file_that_was_tampered_with_after_its_stamp_is_found(
    bundle: Path, replace: object, name: str
) -> None:
    use(bundle)
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    wait_for_clock(path)
    replace(path, content)
    for _ in range(2):
        with pytest.raises(BundleCorrupt, match="does not have the SHA-256"):
            use(bundle)


def test_stamp_is_of_one_digest(bundle: Path, hashed: list[str]) -> None:
    path = bundle / "adapters" / "eng.safetensors"
    entry = open_bundle(bundle).entry("eng").file
    Verifier(bundle, None).check(entry)
    other = File(path=entry.path, sha256="0" * 64, size=entry.size)
    with pytest.raises(BundleCorrupt, match="does not have the SHA-256"):
        Verifier(bundle, None).check(other)
    assert hashed == [path.name] * 2


def test_file_that_just_changed_gets_no_stamp(
    bundle: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "_SETTLED_NS", 3_600_000_000_000)
    entry = open_bundle(bundle).entry("eng").file
    for _ in range(2):
        verifier = Verifier(bundle, None)
        verifier.check(entry)
        verifier.check(entry)  # which this process remembers
    assert len(hashed) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_stamps_that_others_could_write_are_not_trusted(bundle: Path, hashed: list[str]) -> None:
    entry = open_bundle(bundle).entry("eng").file
    Verifier(bundle, None).check(entry)
    folder = stamps.stamps_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    for count, mode in ((2, 0o770), (3, 0o707), (3, 0o700)):
        folder.chmod(mode)
        Verifier(bundle, None).check(entry)
        assert len(hashed) == count
    moved = folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(moved)
    Verifier(bundle, None).check(entry)
    assert len(hashed) == 4


def test_damage_that_changed_no_time_is_found_by_doctor_and_then_by_all(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk: the content changes under an unchanged state."""
    path = bundle / "adapters" / "eng.safetensors"
    entry = open_bundle(bundle).entry("eng").file
    Verifier(bundle, None).check(entry)
    state = stamps.FileState.of(path)
    monkeypatch.setattr(stamps.FileState, "of", classmethod(lambda *_: state))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    Verifier(bundle, None).check(entry)  # what a stamp cannot see
    arguments = ["doctor", "--verify", "--bundle", str(bundle)]
    assert CliRunner().invoke(main, arguments).exit_code == 1
    with pytest.raises(BundleCorrupt, match="does not have the SHA-256"):
        Verifier(bundle, None).check(entry)


def test_stamps_are_bounded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_MOST", 4)
    path = bundle / "adapters" / "eng.safetensors"
    for number in range(20):
        stamps.stamp(path, stamps.FileState.of(path), f"{number:064}", time.time_ns())
        assert stamps.is_stamped(path, stamps.FileState.of(path), f"{number:064}")
        assert len(list(stamps.stamps_folder().iterdir())) <= 4


def test_cache_that_cannot_be_written_is_no_error(
    bundle: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        use(bundle)
    assert len(hashed) == 2 * len(USED)


@pytest.fixture
def weighty(bundle: Path) -> Path:
    """The bundle with a second file of weights in its encoder, which nothing reads."""
    manifest = bundle / "manifest.json"
    weights = bundle / "graphs" / "encoder.fp32.onnx.data"
    weights.write_bytes(bytes(1 << 20))
    content = json.loads(manifest.read_bytes())
    for graph in content["graphs"]:
        if (graph["name"], graph["precision"]) == ("encoder", "fp32"):
            graph["files"].append(dataclasses.asdict(describe(bundle, weights)))
    manifest.write_text(json.dumps(content))
    return bundle


def test_weights_are_hashed_while_the_session_is_created(
    weighty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    creating, hashing = threading.Event(), threading.Event()
    real_digest, real_open = verification.digest, registry.open_session

    def digest(path: Path, *arguments: object) -> str:
        if path.suffix == ".data":
            hashing.set()
            assert creating.wait(10), "nothing is created beside hashing"
        return real_digest(path, *arguments)

    def create(*arguments: object) -> object:
        creating.set()
        assert hashing.wait(10), "nothing is hashed beside creation"
        return real_open(*arguments)

    monkeypatch.setattr(verification, "digest", digest)
    monkeypatch.setattr(registry, "open_session", create)
    seen: list[tuple[int, int]] = []
    with verification.opening_progress(lambda *counts: seen.append(counts)):
        open_graph(CPU, open_bundle(weighty), "encoder", "fp32", 1).close()
    size = sum(file.stat().st_size for file in (weighty / "graphs").glob("encoder.fp32.onnx*"))
    assert seen[-1] == (size + (1 << 20), size + (1 << 20))
    assert seen == sorted(seen)


@pytest.mark.parametrize("creation_fails", [False, True])
def test_session_on_damaged_weights_is_closed_before_anybody_has_it(
    weighty: Path, monkeypatch: pytest.MonkeyPatch, *, creation_fails: bool
) -> None:
    path = weighty / "graphs" / "encoder.fp32.onnx.data"
    path.write_bytes(bytes((1 << 20) - 1) + b"!")
    made: list[object] = []
    real = registry.open_session

    def create(*arguments: object) -> object:
        if creation_fails:
            raise BackendError("ONNX Runtime cannot load it")
        made.append(real(*arguments))
        return made[-1]

    monkeypatch.setattr(registry, "open_session", create)
    with pytest.raises(BundleCorrupt, match=r"onnx\.data does not have the SHA-256"):
        open_graph(CPU, open_bundle(weighty), "encoder", "fp32", 1)
    for session in made:
        with pytest.raises(BackendError, match="the session is closed"):
            session.run({})


def test_weights_that_change_while_they_are_loaded_are_refused(
    weighty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weighty / "graphs" / "encoder.fp32.onnx.data"
    use(weighty)  # stamped
    real = registry.open_session

    def create(*arguments: object) -> object:
        session = real(*arguments)
        wait_for_clock(path)
        path.write_bytes(bytes(1 << 20))
        return session

    monkeypatch.setattr(registry, "open_session", create)
    with pytest.raises(BundleCorrupt, match="was changed while it was loaded: try again"):
        open_graph(CPU, open_bundle(weighty), "encoder", "fp32", 1)
