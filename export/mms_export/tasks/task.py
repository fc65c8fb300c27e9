"""Task: what a bundle of one kind of model consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mms_engine.bundle.manifest import DataDtype, DataFile, Model, Wav2Vec2
from mms_engine.types import Precision
from mms_export.checkpoints.checkpoint import AdapterFile, Checkpoint
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics
from mms_export.parity.comparison import TOKENS, Agreement, Case


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One graph of a task, written in every precision."""

    name: str
    build: Callable[[Wav2Vec2, Weights, Numerics], GraphBuilder]
    shares: str = ""
    """Earlier graph whose weights and data file this one uses; empty for weights of its own."""
    has_parity: bool = False
    """Whether its outputs are compared with the reference network."""
    for_streams: bool = False
    """Whether only streams use it, and a plan of it is built only on request."""


@dataclass(frozen=True, slots=True)
class DataJob:
    """Settings of every data file of an export. Picklable, for worker processes."""

    folder: Path
    config: Wav2Vec2
    dtype: DataDtype
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Data files of a task, one per language."""

    path: Callable[[Path, str], Path]
    """Returns the path of a language's data file in a bundle."""
    write: Callable[[DataJob, AdapterFile], DataFile]
    """Writes the data file of one language and returns its manifest entry."""
    size: Callable[[Wav2Vec2, AdapterFile], int]
    """Returns the number of elements of a language's data file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Graphs, data files and parity check of one kind of model."""

    graphs: tuple[GraphSpec, ...]
    """In the order in which they are written."""
    model: Callable[[Checkpoint], Model]
    """Returns the model's description for the manifest."""
    data: DataSpec | None
    """`None` for a model whose languages are in its graphs."""
    reference: Callable[[Case], list[FloatArray]]
    """Returns the outputs of the reference network for a case."""
    outputs: Callable[[Case, Path, Precision, str], list[FloatArray]]
    """Returns the outputs of a bundle's graph for a case."""
    agreement: Agreement = TOKENS
    """Agreement of the two that an export requires."""

    def spec(self, name: str) -> GraphSpec:
        """Return the graph of a name."""
        return next(graph for graph in self.graphs if graph.name == name)
