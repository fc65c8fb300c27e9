"""Checkpoint: base weights, adapters and metadata in one form, whatever format they came in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_export.checkpoints.config import Config
from mms_export.checkpoints.weights import Tensors

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
    config: Config
    weights: Tensors
    """Base model, under the names of `names.base_shapes`."""
    weight_files: tuple[Path, ...]
    adapters: Mapping[str, AdapterFile]
    """By language code, sorted."""
    sample_rate: int
    normalize: bool
    licence: str
    notice: str = ""
