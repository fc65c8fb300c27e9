"""Atomic writing of the files of a bundle."""

from pathlib import Path

import pytest

from mms_engine.bundle.files import atomic_open, atomic_path
from mms_engine.errors import BundleError


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "weights.bin"
    with atomic_open(target) as stream:
        stream.write(b"weights")
        stream.flush()
        assert not target.exists()
    assert target.read_bytes() == b"weights"
    assert leftovers(target.parent) == ["weights.bin"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_error_leaves_the_previous_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"former")
    with pytest.raises(type(error)), atomic_open(target) as stream:
        stream.write(b"half")
        raise error
    assert target.read_bytes() == b"former"
    assert leftovers(tmp_path) == ["weights.bin"]


def test_full_disk_is_one_error_and_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"cannot write .*weights.bin: No space left on device"),
        atomic_path(tmp_path / "weights.bin") as partial,
        Path("/dev/full").open("wb") as full,
    ):
        partial.touch()
        full.write(b"x")
        full.flush()
    assert leftovers(tmp_path) == []
