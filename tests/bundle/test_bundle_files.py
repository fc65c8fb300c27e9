"""Atomic writing of the files of a bundle."""

from pathlib import Path

import pytest

from full_disk import full_disk
from mms_engine.bundle.files import atomic_open
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
        full_disk(),
        pytest.raises(BundleError, match=r"cannot write .*weights.bin: File too large; .* again"),
        atomic_open(tmp_path / "weights.bin") as stream,
    ):
        stream.write(b"x")
    assert leftovers(tmp_path) == []
