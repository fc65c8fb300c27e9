"""Kernels that TensorRT for RTX compiles on the GPU, kept on disk for the next start.

A plan for RTX holds no machine code: the runtime compiles its kernels for the GPU when a shape is
first run. Files lie in the user's cache folder, one for each plan, and are never required.
"""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

from mms_engine.bundle.files import atomic_open
from mms_engine.bundle.stamps import is_private
from mms_engine.errors import BundleError
from mms_engine.system import cache_folder

logger = logging.getLogger(__name__)


def compiled_folder() -> Path:
    """Return the folder of the files."""
    return cache_folder() / "compiled"


def compiled_path(plan_sha256: str, *machine: str) -> Path:
    """Return the file of a plan on a machine, described by its GPU, driver and runtime."""
    key = hashlib.sha256("\0".join(machine).encode()).hexdigest()
    return compiled_folder() / f"{plan_sha256[:16]}.{key[:16]}"


def clear() -> int:
    """Remove every file, and return the bytes that were freed."""
    size = sum(file.stat().st_size for file in compiled_folder().glob("*"))
    shutil.rmtree(compiled_folder(), ignore_errors=True)
    return size


class CompiledKernels:
    """Compiled kernels of one plan: the runtime's cache, and its file."""

    def __init__(self, config: Any, path: Path) -> None:  # noqa: ANN401
        """Read the file, if there is one, into a new cache of a runtime configuration.

        Args:
            config: `IRuntimeConfig` of the engine.
            path: See `compiled_path`.
        """
        self._path = path
        self._cache = config.create_runtime_cache()
        self._saved = b""
        try:
            if is_private(path.parent):
                self._saved = path.read_bytes()
        except OSError as error:
            logger.debug("no compiled kernels: %s", error)
        # The runtime compares the GPU, the driver and its own release with those in the file.
        if self._saved and not self._cache.deserialize(self._saved):
            logger.info("%s was written on another machine: its kernels are compiled again", path)
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write the cache to the file if it has changed, and remove those of former machines."""
        content = bytes(memoryview(self._cache.serialize()))
        if content == self._saved:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            for former in self._path.parent.glob(f"{self._path.name.partition('.')[0]}.*"):
                if former != self._path:
                    former.unlink(missing_ok=True)
            with atomic_open(self._path) as stream:
                stream.write(content)
            self._saved = content
        except (OSError, BundleError) as error:
            logger.info("compiled kernels are not kept: %s", error)
