"""Task: what a bundle of one kind of model consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import DataDtype, DataFile, Model, Parity
from mms_engine.types import Precision
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.numerics import Numerics

# Functions of a task take its own kinds of configuration, file and case, hence `Any`.


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One graph of a task, written in every precision."""

    name: str
    build: Callable[[Any, Weights, Numerics], GraphBuilder]
    shares: str = ""
    """Earlier graph whose weights and data file this one uses; empty for weights of its own."""
    has_parity: bool = False
    """Whether its outputs are compared with the reference network."""
    planned: bool = True
    """Whether plans of it are built."""


@dataclass(frozen=True, slots=True)
class DataJob:
    """Settings of every data file of an export. Picklable, for worker processes."""

    folder: Path
    config: Any
    """Model of the checkpoint; of voices, the sizes of most."""
    dtype: DataDtype
    precisions: tuple[Precision, ...] = ()
    """Precisions of the graphs that the data are for."""
    fingerprint: str = ""

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 2 if self.dtype == "float16" else 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Data files of a task, one per language."""

    noun: str
    """Plural of what a file holds."""
    paths: Callable[[Path, str], tuple[Path, ...]]
    """Returns the paths that a language's data may have in a bundle."""
    write: Callable[[DataJob, Any], DataFile]
    """Writes the data of one language and returns their manifest entry."""
    size: Callable[[DataJob, Any], int]
    """Returns the bytes of a language's data."""
    is_complete: Callable[[DataJob, DataFile], bool] = lambda _, __: True
    """Returns whether an entry has everything that the precisions need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Graphs, data files and parity check of one kind of model."""

    graphs: tuple[GraphSpec, ...]
    """In the order in which they are written."""
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    """Precisions of an export that names none."""
    model: Callable[[Any], Model]
    """Returns the model's description for the manifest."""
    data: DataSpec | None
    """`None` for a model whose languages are in its graphs."""
    sample: str
    """Description of what parity is measured on."""
    case: Callable[[Any, list[str]], Any]
    """Returns what parity is measured on, for a checkpoint and the languages in the bundle."""
    reference: Callable[[Any], Mapping[str, list[FloatArray]]]
    """Returns the outputs of the reference network for a case, by name of the graph."""
    outputs: Callable[[Any, Path, Precision, str], list[FloatArray]]
    """Returns the outputs of a bundle's graph for a case."""
    compare: Callable[[Any, Precision, list[FloatArray], list[FloatArray]], Parity]
    """Returns the parity of outputs with the reference's, or raises an error beyond tolerance."""

    def spec(self, name: str) -> GraphSpec:
        """Return the graph of a name."""
        return next(graph for graph in self.graphs if graph.name == name)
