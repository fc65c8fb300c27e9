"""Atomic files and their SHA-256 digests."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import IO

from mms_engine.bundle.manifest import File
from mms_engine.errors import BundleCorrupt, BundleError, BundleFileMissing, OutputError
from mms_engine.formats.output import PARTIAL_SUFFIX, open_output

ByteProgress = Callable[[int], object]
"""Called with the number of bytes read since its last call."""
_BUFFER = 1 << 20


_token: ContextVar[str | None] = ContextVar("partial_token", default=None)


@contextlib.contextmanager
def partial_token(token: str | None) -> Iterator[None]:
    """Name the partial files of this thread by a token, with which `partials` finds them."""
    before = _token.set(token)
    try:
        yield
    finally:
        _token.reset(before)


def current_token() -> str | None:
    """Return the token of `partial_token`, for other processes that write the same bundle."""
    return _token.get()


def partials(folder: Path, token: str) -> Iterator[Path]:
    """Yield the partial files in a folder that a killed process left under a token."""
    return folder.glob(f".*.{token}{PARTIAL_SUFFIX}")


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that appears at `path` only if the block ends without an error.

    Until then `path` keeps its content; see `mms_engine.formats.output.open_output`.

    Raises:
        BundleError: the file system refused (no space, no permission).
    """
    try:
        with open_output(path, binary=True, token=_token.get()) as stream:
            yield stream
    except OutputError as error:
        raise BundleError(f"{error}, then run the same command again to continue") from error


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


def check_name(folder: Path) -> None:
    """Check that the libraries which load a bundle's files can open its folder.

    Raises:
        BundleError: its name is not UTF-8.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise BundleError(
            f"the name of the bundle {folder} is not UTF-8, and ONNX Runtime opens only such "
            "files: choose another folder"
        ) from error


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
        raise damaged(path)
    return path


def damaged(path: Path) -> BundleCorrupt:
    """Return the error of a file that has another digest than the manifest says."""
    return BundleCorrupt(
        f"{path} does not have the SHA-256 of the manifest: the file was changed or damaged, "
        "export the bundle again"
    )
