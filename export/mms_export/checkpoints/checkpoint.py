"""Checkpoint: base weights, adapters and metadata in one form, whatever format they came in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mms_engine.bundle.files import digest
from mms_engine.bundle.manifest import Wav2Vec2Classifier, Wav2Vec2Ctc, Wav2Vec2Pretrained
from mms_engine.errors import MmsError
from mms_export.checkpoints.tokenizer import Labels
from mms_export.checkpoints.weights import Weights

MMS_LICENCE = "CC-BY-NC-4.0"
UNKNOWN_LICENCE = "unknown"
Format = Literal["transformers", "fairseq", "torchaudio"]


class DamagedAdapter(MmsError):
    """The tensors of one language are damaged; others may be whole."""


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """Location and vocabulary of a language's tensors. Picklable, for worker processes."""

    language: str
    paths: tuple[Path, ...]
    """Files that hold them: one of their own, or those of the base model."""
    format: Format
    labels: Labels
    described_by: tuple[Path, ...] = ()
    """Files from which the labels were read."""

    @property
    def path(self) -> Path:
        """First file, for messages."""
        return self.paths[0]

    @property
    def vocab(self) -> tuple[str, ...]:
        """Tokens in the order of a bundle."""
        return self.labels.tokens

    def modified(self) -> float:
        """Return the time of the last change to weights or vocabulary, in seconds."""
        files = (*self.paths, *self.described_by)
        return max(path.stat().st_mtime for path in files if path.exists())


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint; tensors are read on demand."""

    name: str
    format: Format
    path: Path
    config: Wav2Vec2Ctc | Wav2Vec2Classifier | Wav2Vec2Pretrained
    weights: Weights
    """Base model, under the names of `names.base_shapes`; the whole model, under those of
    `names.classifier_shapes` or `names.pretrained_shapes`, if it has no adapters of its own."""
    weight_files: tuple[Path, ...]
    adapters: Mapping[str, AdapterFile]
    """By language code, sorted; none in a model of language identification or without a head."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Languages whose files cannot be exported, and why."""
    warnings: tuple[str, ...] = ()
    """Remarks on the checkpoint for the user, a sentence each."""
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
