"""SHA-256 digests of a base model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mms_engine.bundle.files import digest


def file_digests(paths: tuple[Path, ...]) -> dict[str, str]:
    """Return the SHA-256 of each weights file, by file name."""
    return {path.name: digest(path) for path in paths}


def fingerprint(digests: Mapping[str, str]) -> str:
    """Return the identity of a base model: the digest of its file, or of its shards' digests."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()
