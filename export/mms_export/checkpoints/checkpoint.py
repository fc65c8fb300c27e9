"""A checkpoint in the one form the exporter works on, whoever wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms_export.checkpoints.config import Config
from mms_export.checkpoints.weights import Tensors


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """Where a language's tensors lie. Small and picklable: worker processes get it."""

    language: str
    path: Path
    format: Literal["transformers", "fairseq"]
    vocab: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A source of weights."""

    name: str
    format: Literal["transformers", "fairseq"]
    path: Path
    config: Config
    weights: Tensors
    """The base model, under the names of `names.base_shapes`."""
    weight_files: tuple[Path, ...]
    adapters: Mapping[str, AdapterFile]
    """By language code, sorted."""
    sample_rate: int
    normalize: bool
    licence: str
    notice: str = ""
