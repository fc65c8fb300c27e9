"""Interface of an implementation, and the work it can be given."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mms_bench.errors import Skipped
from mms_engine.text.vocabulary import BLANK
from mms_engine.types import BackendName, Float32Array

Labels = npt.NDArray[np.int64]

HALF_ADAPTERS = "fp32, adapters in fp16"
"""Precision of fp32 graphs whose adapters and heads are stored in float16, as is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Model and resources of a peer."""

    checkpoint: Path
    """Folder in the layout of facebook/mms-1b-all."""
    bundle: Path | None
    """Bundle exported from it."""
    cache: Path
    """Folder for files that peers build."""
    languages: tuple[str, ...]
    """Languages of the run; a peer that holds only one loads the first."""
    threads: int
    device: Literal["cpu", "cuda"] = "cpu"
    backend: BackendName | None = None
    """Backend of the engine; `None` for its own choice."""
    one_language: bool = False
    """Whether the engine may keep one language only, so that each switch reads a file."""
    whisper: str = "small"
    """Model of faster-whisper: a name of the hub, or a folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Audio recognised in one call."""

    audio: Float32Array
    """Shape `[B, N]`: 16 kHz, zero mean and unit variance, no padding."""
    languages: tuple[str, ...]
    """Codes of the B rows."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Change to the next of several languages, in turn."""

    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One call of a CTC decoder or aligner."""

    kind: Literal["greedy", "beam", "align"]
    emission: Float32Array
    """Natural-log probabilities `[B, T, V]`; token 0 is the blank."""
    tokens: tuple[str, ...] = ()
    """Spelling of the V tokens, where words matter; `|` separates them."""
    beam_size: int = 0
    token_min_logp: float | None = None
    """Log-probability below which a token of a frame is not tried; `None` for all tokens."""
    token_limit: int | None = None
    """Number of most likely tokens per frame that slow decoders may confine themselves to."""
    lm: Path | None = None
    """ARPA file of words."""
    lm_weight: float = 0.0
    """Weight of the LM's log10 probability."""
    word_score: float = 0.0
    """Nats per word."""
    hotwords: tuple[str, ...] = ()
    hotword_weight: float = 0.0
    """Nats per phrase."""
    targets: Labels | None = None
    """Labels `[L]` of an alignment."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Work whose inputs are in memory, in the form that the peer takes."""

    call: Callable[[], Any]
    """The timed call."""
    result: Callable[[Any], Any] = lambda _: None
    """Converts what `call` returns to logits or labels, one array per row; not timed."""


class Peer:
    """Base class of implementations; one is created and used in a process of its own.

    Methods raise `Skipped` if the peer lacks a function.
    """

    packages: tuple[str, ...] = ()
    """Distributions whose versions are reported."""
    imports: tuple[str, ...] = ()
    """Modules that are imported before anything is timed."""
    precision: str = "fp32"
    """Selects the tolerance of the check; final once `load` has returned."""

    def build(self, setup: Setup) -> None:
        """Build the files that `load` needs, unless they are cached; in a separate process."""

    def load(self, setup: Setup) -> None:
        """Load the model; timed as loading."""

    def ready(self, work: Any) -> Ready:  # noqa: ANN401 - a recogniser and a decoder differ
        """Prepare a `Batch` or `Switch` for a recogniser, a `Task` for a decoder."""
        raise NotImplementedError


def versions(*packages: str) -> dict[str, str]:
    """Return versions by package; Skipped if one is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError as error:
            raise Skipped(f"{package} is not installed") from error
    return found


def single_language(batch: Batch) -> str:
    """Return the language of a batch; Skipped if it has several."""
    first, *others = dict.fromkeys(batch.languages)
    if others:
        raise Skipped("holds one language at a time, so it cannot run a mixed batch")
    return first


def collapse(path: npt.ArrayLike) -> Labels:
    """Return the labels of a path of tokens: repeats merged, blanks removed."""
    tokens = np.asarray(path, np.int64)
    kept: Labels = tokens[(np.diff(tokens, prepend=-1) != 0) & (tokens != BLANK)]
    return kept
