"""Checkpoint: base weights, adapters and metadata in one form, whatever format they came in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from mms_engine.bundle.files import digest
from mms_engine.bundle.manifest import Vits, Wav2Vec2Classifier, Wav2Vec2Ctc, Wav2Vec2Pretrained
from mms_engine.bundle.voices import Voice
from mms_engine.errors import MmsError
from mms_export.checkpoints.tokenizer import Labels
from mms_export.checkpoints.weights import FloatArray, Weights

MMS_LICENCE = "CC-BY-NC-4.0"
APACHE_LICENCE = "Apache-2.0"
"""Licence of Omnilingual ASR."""
UNKNOWN_LICENCE = "unknown"
Format = Literal["transformers", "fairseq", "torchaudio", "fairseq2", "omniasr"]


class DamagedAdapter(MmsError):
    """The tensors of one language are damaged; others may be whole."""


class SourceFile:
    """Files of one language or voice in a checkpoint. Picklable, for worker processes."""

    __slots__ = ()
    language: str
    format: Format
    paths: tuple[Path, ...]
    """Files that hold the tensors: one of their own, or those of the base model."""
    described_by: tuple[Path, ...]
    """Files from which the rest was read."""

    @property
    def path(self) -> Path:
        """First file, for messages."""
        return self.paths[0]

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        raise NotImplementedError

    def modified(self) -> float:
        """Return the time of the last change to weights or vocabulary, in seconds."""
        files = (*self.paths, *self.described_by)
        return max(path.stat().st_mtime for path in files if path.exists())


@dataclass(frozen=True, slots=True)
class AdapterFile(SourceFile):
    """Location and vocabulary of a language's tensors."""

    language: str
    paths: tuple[Path, ...]
    format: Format
    labels: Labels
    described_by: tuple[Path, ...] = ()
    base_sha256: str = ""
    """Fingerprint of the base model it was trained for, where a sidecar names it."""

    @property
    def vocab(self) -> tuple[str, ...]:
        """Tokens in the order of a bundle."""
        return self.labels.tokens

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.labels.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFile(SourceFile):
    """Location and description of a voice."""

    language: str
    paths: tuple[Path, ...]
    format: Format
    described_by: tuple[Path, ...] = ()
    config: Vits
    voice: Voice
    """Without the fingerprint of a bundle."""
    rows: int
    """Rows of the embedding."""
    licence: str
    repository: str = ""
    """Hub id from which to download the weights; `paths` is empty then."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Names and files that a checkpoint and a set of voices have in common."""

    name: str
    format: Format
    path: Path
    weight_files: tuple[Path, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Languages whose files cannot be exported, and why."""
    warnings: tuple[str, ...] = ()
    """Remarks on the checkpoint for the user, a sentence each."""
    sample_rate: int
    licence: str
    notice: str = ""

    @property
    def models(self) -> Mapping[str, Vits]:
        """Sizes of the voices that differ from most, by the SHA-256 of them."""
        return {}

    def model_of(self, language: str) -> str:  # noqa: ARG002 - as VoiceSet
        """Return the key in `models` of a voice's sizes; empty for those of most."""
        return ""

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each weights file, by file name."""
        return {path.name: digest(path) for path in self.weight_files}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Source):
    """An opened checkpoint; tensors are read on demand."""

    config: Wav2Vec2Ctc | Wav2Vec2Classifier | Wav2Vec2Pretrained
    weights: Weights
    """Base model, under the names of `names.base_shapes`; the whole model, under those of
    `names.classifier_shapes` or `names.pretrained_shapes`, if it has no adapters of its own."""
    adapters: Mapping[str, AdapterFile]
    """By language code, sorted; none in a model of language identification or without a head."""

    @property
    def files(self) -> Mapping[str, AdapterFile]:
        """Files by language."""
        return self.adapters

    def fingerprint(self, digests: Mapping[str, str]) -> str:
        """Return the identity of the base model: its file's digest, or that of its shards'."""
        if len(digests) == 1:
            return next(iter(digests.values()))
        return hashlib.sha256("".join(digests.values()).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSet(Source):
    """Voices of one sample rate. There is no base model: graphs hold no weights."""

    config: Vits
    """Sizes of most voices."""
    voices: Mapping[str, VoiceFile]
    """By language code, sorted."""

    @property
    def models(self) -> Mapping[str, Vits]:
        """Sizes of the voices that differ from most, by the SHA-256 of them."""
        others = {file.config for file in self.voices.values()} - {self.config}
        return dict(sorted((sizes_digest(sizes), sizes) for sizes in others))

    def model_of(self, language: str) -> str:
        """Return the key in `models` of a voice's sizes; empty for those of most."""
        sizes = self.voices[language].config
        return "" if sizes == self.config else sizes_digest(sizes)

    def sizes(self, model: str) -> Vits:
        """Return the sizes of a key of `models`; of most voices for an empty one."""
        return self.models[model] if model else self.config

    @property
    def files(self) -> Mapping[str, VoiceFile]:
        """Files by language."""
        return self.voices

    @property
    def weights(self) -> Weights:
        """Weights of the graphs: none."""
        return Weights({}, _no_weights)

    def fingerprint(self, digests: Mapping[str, str]) -> str:  # noqa: ARG002 - as Checkpoint
        """Return the identity of the sizes of most voices."""
        return sizes_digest(self.config)


def sizes_digest(config: Vits) -> str:
    """Return the SHA-256 of the network sizes of a voice, which its file carries."""
    return hashlib.sha256(msgspec.json.encode(config)).hexdigest()


def _no_weights(name: str) -> FloatArray:
    raise KeyError(name)
