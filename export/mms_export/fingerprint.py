"""The identity of a base model."""

import hashlib

from mms_engine.bundle.files import digest
from mms_export.checkpoints.checkpoint import Checkpoint


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of the base weights file; of the shards' digests where there are more."""
    digests = [digest(path) for path in checkpoint.weight_files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
