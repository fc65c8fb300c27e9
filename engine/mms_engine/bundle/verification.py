"""Verification of a bundle's files: each is read against its SHA-256 before it is trusted."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

from mms_engine.bundle.files import ByteProgress, check, damaged, digest
from mms_engine.bundle.manifest import File
from mms_engine.bundle.stamps import FileState, forget, is_stamped, stamp
from mms_engine.errors import BackendError, BundleCorrupt


class OpeningProgress:
    """Bytes of the graphs that are opened: each counts when hashed, and when loaded."""

    def __init__(self, changed: Callable[[int, int], object]) -> None:
        """Report to a function, from any thread.

        Args:
            changed: Called with the bytes done and the bytes known so far.
        """
        self._changed = changed
        self._lock = threading.Lock()
        self._done = self._total = 0

    def expect(self, size: int) -> None:
        """Add bytes that will be hashed or loaded."""
        self._add(0, size)

    def advance(self, size: int) -> None:
        """Add bytes that were hashed or loaded."""
        self._add(size, 0)

    def _add(self, done: int, total: int) -> None:
        with self._lock:
            self._done += done
            self._total += total
            self._changed(self._done, self._total)


_progress: ContextVar[OpeningProgress | None] = ContextVar("opening_progress", default=None)


@contextlib.contextmanager
def opening_progress(changed: Callable[[int, int], object]) -> Iterator[None]:
    """Report the progress of the bundles that this thread opens within the block.

    Args:
        changed: Called with the bytes done and the bytes known so far, from any thread.
    """
    token = _progress.set(OpeningProgress(changed))
    try:
        yield
    finally:
        _progress.reset(token)


class Verifier:
    """Checks of one folder's files: size always, SHA-256 once per state of a file.

    Methods may be called from several threads.
    """

    def __init__(self, root: Path, verify: bool | None) -> None:
        """Check nothing yet.

        Args:
            root: Folder of the files.
            verify: `None` to trust stamps of earlier checks (see `stamps`), true to hash every file
                anew, false to hash none.
        """
        self._root = root
        self._verify = verify
        self._known: dict[str, FileState] = {}
        """States in which files were found whole, by path."""

    def check(self, file: File) -> Path:
        """Return the path of a file, checked.

        Raises:
            BundleFileMissing: it is missing.
            BundleCorrupt: it differs from its manifest entry.
        """
        path, state = self._sized(file)
        if not self._is_known(file, path, state):
            self._hash(file, path)
        return path

    @contextlib.contextmanager
    def beside(self, files: Sequence[File]) -> Iterator[Path]:
        """Yield the path of a graph, checked; its weights are hashed while the block loads them.

        What the block made must not be used before the block has ended.

        Args:
            files: The `.onnx`, which is checked first because it is parsed; then its weights, which
                are only numbers.

        Raises:
            BundleFileMissing: a file is missing.
            BundleCorrupt: a file differs from its manifest entry, or changed while it was loaded.
        """
        path = self.check(files[0])
        states = {file.path: self._sized(file)[1] for file in files}
        unknown = [
            file
            for file in files[1:]
            if not self._is_known(file, self._root / file.path, states[file.path])
        ]
        progress = _progress.get() or OpeningProgress(lambda *_: None)
        loaded = sum(file.size for file in files)
        progress.expect(loaded + sum(file.size for file in unknown))
        with self._hashing(unknown, progress):
            yield path
        for file in files:
            path, state = self._sized(file)
            if state != states[file.path] and self._verify is not False:
                raise BundleCorrupt(f"{path} was changed while it was loaded: try again")
        progress.advance(loaded)

    @contextlib.contextmanager
    def _hashing(self, files: Sequence[File], progress: OpeningProgress) -> Iterator[None]:
        if not files:
            yield
            return
        stopped = threading.Event()

        def advance(size: int) -> None:
            progress.advance(size)
            if stopped.is_set():
                raise InterruptedError

        def hash_all() -> None:
            for file in files:
                self._hash(file, self._root / file.path, advance)

        with ThreadPoolExecutor(1, thread_name_prefix="mms-digest") as hasher:
            hashed = hasher.submit(hash_all)
            try:
                yield
            except BackendError:
                hashed.result()  # a damaged file explains more than what failed to load it
                raise
            except BaseException:
                stopped.set()
                raise
            hashed.result()

    def verify(self, file: File, progress: ByteProgress | None = None) -> None:
        """Hash a file anew, whatever is known of it.

        Raises:
            BundleFileMissing: it is missing.
            BundleCorrupt: it differs from its manifest entry.
        """
        self._hash(file, self._sized(file)[0], progress)

    def _sized(self, file: File) -> tuple[Path, FileState]:
        path = check(self._root, file, verify=False)
        return path, FileState.of(path)

    def _is_known(self, file: File, path: Path, state: FileState) -> bool:
        if self._verify is False or self._known.get(file.path) == state:
            return True
        return self._verify is None and is_stamped(path, state, file.sha256)

    def _hash(self, file: File, path: Path, progress: ByteProgress | None = None) -> None:
        begin, state = time.time_ns(), FileState.of(path)
        if digest(path, progress) != file.sha256:
            forget(path, state, file.sha256)
            raise damaged(path)
        if FileState.of(path) == state:
            self._known[file.path] = state
            stamp(path, state, file.sha256, begin)
