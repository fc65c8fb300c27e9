"""Files of a bundle are whole or absent, and nothing outside the bundle is reached."""

import os
from pathlib import Path

import pytest

from mms_engine.bundle.files import atomic_open, atomic_path, check, describe, resolve
from mms_engine.bundle.manifest import File
from mms_engine.errors import BundleCorrupt, BundleError, BundleFileMissing


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "weights.bin"
    with atomic_open(target) as stream:
        stream.write(b"weights")
        stream.flush()
        assert not target.exists()
    assert target.read_bytes() == b"weights"
    assert leftovers(target.parent) == ["weights.bin"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_an_error_leaves_the_former_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"former")
    with pytest.raises(type(error)), atomic_open(target) as stream:
        stream.write(b"half")
        raise error
    assert target.read_bytes() == b"former"
    assert leftovers(tmp_path) == ["weights.bin"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"cannot write .*weights.bin: No space left on device"),
        atomic_path(tmp_path / "weights.bin") as partial,
        Path("/dev/full").open("wb") as full,
    ):
        partial.touch()
        full.write(b"x")
        full.flush()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/hostname", "graphs/../../secret", "link/secret"]
)
def test_a_path_out_of_the_bundle_is_refused(tmp_path: Path, path: str) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "secret").write_text("secret")
    (bundle / "link").symlink_to(tmp_path)
    with pytest.raises(BundleCorrupt, match="lies outside the bundle"):
        resolve(bundle, File(path=path, sha256="", size=6))


def test_each_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "graphs" / "g.onnx"
    path.parent.mkdir()
    path.write_bytes(b"0123456789")
    entry = describe(tmp_path, path)
    assert check(tmp_path, entry, verify=True) == path

    path.write_bytes(b"0123456780")
    assert check(tmp_path, entry, verify=False) == path
    with pytest.raises(BundleCorrupt, match="does not have the SHA-256"):
        check(tmp_path, entry, verify=True)

    os.truncate(path, 5)
    with pytest.raises(BundleCorrupt, match="has 5 bytes, the manifest says 10"):
        check(tmp_path, entry, verify=False)

    path.unlink()
    with pytest.raises(BundleFileMissing, match="is missing: export the bundle again"):
        check(tmp_path, entry, verify=False)
