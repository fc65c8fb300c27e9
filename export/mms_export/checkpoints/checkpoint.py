"""Checkpoint: base weights, adapters and metadata in one form, whatever format they came in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_engine.bundle.files import digest
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_export.checkpoints.weights import Weights

MMS_LICENCE = "CC-BY-NC-4.0"
Format = Literal["transformers", "fairseq"]


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """Location and vocabulary of a language's tensors. Picklable, for worker processes."""

    language: str
    path: Path
    format: Format
    vocab: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint; tensors are read on demand."""

    name: str
    format: Format
    path: Path
    config: Wav2Vec2Ctc
    weights: Weights
    """Base model, under the names of `names.base_shapes`."""
    weight_files: tuple[Path, ...]
    adapters: Mapping[str, AdapterFile]
    """By language code, sorted."""
    sample_rate: int
    licence: str
    notice: str = ""

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each weights file, by file name."""
        return {path.name: digest(path) for path in self.weight_files}


def fingerprint(digests: Mapping[str, str]) -> str:
    """Return the identity of a base model: the digest of its file, or of its shards' digests."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()
