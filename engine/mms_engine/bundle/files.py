"""Atomic files and their SHA-256 digests."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mms_engine.bundle.manifest import File
from mms_engine.errors import BundleCorrupt, BundleError, BundleFileMissing

PARTIAL_SUFFIX = ".partial"
ByteProgress = Callable[[int], object]
"""Called with the number of bytes read since its last call."""
_BUFFER = 1 << 20


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    On an error the temporary file is removed, and `path` keeps its content.

    Raises:
        BundleError: the file system refused (no space, no permission).
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"cannot write {path}: {reason}. Free some space or choose another folder, "
            "then run the same command again to continue"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that appears at `path` only if the block ends without an error."""
    with atomic_path(path) as partial, partial.open("wb") as stream:
        yield stream


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe(root: Path, path: Path) -> File:
    """Return the manifest entry of the file `path` under `root`."""
    return File(
        path=path.relative_to(root).as_posix(), sha256=digest(path), size=path.stat().st_size
    )


def digest(path: Path, progress: ByteProgress | None = None) -> str:
    """Return the SHA-256 of a file's content, in lower-case hex."""
    sha256, buffer = hashlib.sha256(), memoryview(bytearray(_BUFFER))
    with path.open("rb", buffering=0) as stream:
        while size := stream.readinto(buffer):
            sha256.update(buffer[:size])
            if progress is not None:
                progress(size)
    return sha256.hexdigest()


def resolve(root: Path, file: File) -> Path:
    """Return the path of `file` under `root`.

    Raises:
        BundleCorrupt: the path leaves the bundle.
    """
    relative = PurePosixPath(file.path)
    path = root / relative
    inside = path.resolve().is_relative_to(root.resolve())
    if relative.is_absolute() or ".." in relative.parts or not inside:
        raise BundleCorrupt(
            f"{root}: the manifest names {file.path!r}, which lies outside the bundle: "
            "do not use this bundle"
        )
    return path


def check(root: Path, file: File, *, verify: bool, progress: ByteProgress | None = None) -> Path:
    """Return the path of `file`, checked for its size and, with `verify`, its digest.

    Raises:
        BundleFileMissing: the file is missing.
        BundleCorrupt: the file differs from its manifest entry.
    """
    path = resolve(root, file)
    if not path.is_file():
        raise BundleFileMissing(f"{path} is missing: export the bundle again to complete it")
    size = path.stat().st_size
    if size != file.size:
        raise BundleCorrupt(
            f"{path} has {size} bytes, the manifest says {file.size}: export the bundle again"
        )
    if verify and digest(path, progress) != file.sha256:
        raise BundleCorrupt(
            f"{path} does not have the SHA-256 of the manifest: the file was changed or damaged, "
            "export the bundle again"
        )
    return path
