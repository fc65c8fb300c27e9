"""How much disk an export takes, known before anything is written."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from mms_engine.bundle.schema import Precision
from mms_engine.errors import BundleError
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.writer import INLINE_TOTAL
from mms_export.options import ExportOptions
from mms_export.selection import select_languages
from mms_export.sources import open_source
from mms_export.stages import SHARED, STAGES, AdapterDtype, GraphKey, build_graph
from mms_export.tensorrt.plans import Planner

MARGIN = 64 << 20
"""Bytes left free beyond what is written."""
_DTYPE_SIZE: dict[AdapterDtype, int] = {"float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Part:
    """Something the export writes."""

    name: str
    size: int
    """Bytes, headers not counted."""


def graph_parts(checkpoint: Checkpoint, wanted: list[GraphKey]) -> list[Part]:
    """Return the size of each graph."""
    return [Part(f"{key[0]}.{key[1]}", _graph_size(checkpoint, key)) for key in wanted]


def _graph_size(checkpoint: Checkpoint, key: GraphKey) -> int:
    size = _weights_size(checkpoint, key)
    return 0 if key[0] in SHARED and size > INLINE_TOTAL else size


def _weights_size(checkpoint: Checkpoint, key: GraphKey) -> int:
    stage, precision = key
    return sum(w.nbytes for w in build_graph(checkpoint, stage, NUMERICS[precision]).weights)


def plan_parts(checkpoint: Checkpoint, planner: Planner, wanted: list[GraphKey]) -> list[Part]:
    """Return the size of the plan of each graph: its weights; kernels are not counted."""
    return [
        Part(f"{key[0]}.{key[1]} {planner.target}", _weights_size(checkpoint, key))
        for key in wanted
    ]


def make_planner(options: ExportOptions, checkpoint: Checkpoint) -> Planner | None:
    """Return what knows the plans that are asked for.

    Raises:
        PlanError: they cannot be built here.
    """
    return Planner(options.plans, checkpoint, options.precisions) if options.plans else None


def adapter_size(checkpoint: Checkpoint, languages: list[str], dtype: AdapterDtype) -> int:
    """Return the size of the adapters of some languages, in bytes."""
    config = checkpoint.config
    elements = sum(
        config.adapter_parameters + len(checkpoint.adapters[code].vocab) * (config.hidden_size + 1)
        for code in languages
    )
    return elements * _DTYPE_SIZE[dtype]


def all_graphs(precisions: tuple[Precision, ...]) -> list[GraphKey]:
    """Return every stage of each precision."""
    return [(stage, precision) for precision in precisions for stage in STAGES]


def all_parts(options: ExportOptions) -> list[Part]:
    """Return what an export into an empty folder would write."""
    checkpoint = open_source(options.model, options.languages)
    languages = select_languages(options.languages, checkpoint.adapters, source=checkpoint.name)
    size = adapter_size(checkpoint, list(languages), options.adapter_dtype)
    graphs = graph_parts(checkpoint, all_graphs(options.precisions))
    planner = make_planner(options, checkpoint)
    plans = plan_parts(checkpoint, planner, planner.graphs) if planner else []
    return [*graphs, *plans, Part(f"adapters ({len(languages)})", size)]


def check_free(folder: Path, needed: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        BundleError: the disk has less room than `needed` bytes.
    """
    free = shutil.disk_usage(folder).free
    if needed and free < needed + MARGIN:
        raise BundleError(
            f"{folder} has {show(free)} free, the export needs {show(needed + MARGIN)}: "
            "free some space or choose another folder"
        )


def show(size: int) -> str:
    """Return a size in bytes as people read it."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size} B"
