"""The two kinds of work in an export: graphs, and languages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mms_engine.bundle import AdapterWeights, save_adapter
from mms_engine.bundle.files import describe
from mms_engine.bundle.schema import Adapter, Graph, Precision, Stage
from mms_engine.errors import MmsError
from mms_export.adapters import pack_adapter
from mms_export.checkpoints.checkpoint import AdapterFile, Checkpoint
from mms_export.checkpoints.config import Config
from mms_export.checkpoints.open import read_adapter
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.cached import build_cached
from mms_export.graphs.contract import RECIPE, tensors
from mms_export.graphs.encoder import build_encoder
from mms_export.graphs.frontend import build_frontend
from mms_export.graphs.numerics import NUMERICS, Numerics
from mms_export.graphs.writer import write_graph, write_sharing
from mms_export.isolation import Workers
from mms_export.progress import Advance

STAGES: tuple[Stage, ...] = get_args(Stage)
_BUILDERS = {"frontend": build_frontend, "encoder": build_encoder, "cached": build_cached}
SHARED: dict[Stage, Stage] = {"cached": "encoder"}
"""Stages whose weights are those of another, which lies before it."""
WITH_LOGITS: tuple[Stage, ...] = ("encoder", "cached")
"""Stages whose output is compared with the torch modules."""
AdapterDtype = Literal["float16", "float32"]
GraphKey = tuple[Stage, Precision]


def graph_path(folder: Path, stage: Stage, precision: Precision) -> Path:
    """Return where a graph lies in a bundle."""
    return folder / "graphs" / f"{stage}.{precision}.onnx"


def build_graph(checkpoint: Checkpoint, stage: Stage, numerics: Numerics) -> GraphBuilder:
    """Return a graph whose weights are still to be read."""
    return _BUILDERS[stage](checkpoint.config, checkpoint.weights, numerics)


def export_graph(checkpoint: Checkpoint, folder: Path, key: GraphKey, advance: Advance) -> Graph:
    """Write one graph and return its manifest entry; `advance` is told the bytes written."""
    stage, precision = key
    graph = build_graph(checkpoint, stage, NUMERICS[precision])
    path = graph_path(folder, stage, precision)
    if stage in SHARED:
        files = write_sharing(graph, path, graph_path(folder, SHARED[stage], precision))
    else:
        files = write_graph(graph, path, advance)
    inputs, outputs = tensors(graph)
    return Graph(
        stage=stage,
        precision=precision,
        files=tuple(describe(folder, file) for file in files),
        opset=graph.opset,
        inputs=inputs,
        outputs=outputs,
        recipe=RECIPE,
    )


@dataclass(frozen=True, slots=True)
class AdapterJob:
    """What every language's export has in common. Picklable: worker processes get it."""

    folder: Path
    config: Config
    dtype: AdapterDtype
    fingerprint: str


def adapter_path(folder: Path, language: str) -> Path:
    """Return where a language lies in a bundle."""
    return folder / "adapters" / f"{language}.safetensors"


def export_adapter(job: AdapterJob, file: AdapterFile) -> Adapter:
    """Write one language and return its manifest entry.

    Raises:
        MmsError: the adapter does not fit the model, or its values do not fit the dtype.
    """
    weights = read_adapter(file, job.config)
    with np.errstate(over="ignore"):  # what overflows is found below
        adapter = AdapterWeights(
            language=file.language,
            adapter=pack_adapter(weights, job.config).astype(job.dtype),
            head_weight=weights.read("lm_head.weight").astype(job.dtype),
            head_bias=weights.read("lm_head.bias").astype(job.dtype),
            vocab=file.vocab,
            fingerprint=job.fingerprint,
        )
    for array in (adapter.adapter, adapter.head_weight, adapter.head_bias):
        if not np.isfinite(array).all():
            raise MmsError(
                f"{file.path} has values that are not finite in {job.dtype}: "
                "it is damaged, or needs --adapter-dtype float32"
            )
    path = adapter_path(job.folder, file.language)
    save_adapter(path, adapter)
    return Adapter(file=describe(job.folder, path), vocab_size=len(file.vocab))


def export_adapters(
    job: AdapterJob, files: Sequence[AdapterFile], jobs: int
) -> Iterator[tuple[str, Adapter]]:
    """Write languages in worker processes and yield each as it is finished."""
    if jobs == 1 or len(files) < 2:
        for file in files:
            yield file.language, export_adapter(job, file)
        return
    with Workers[str, Adapter](min(jobs, len(files))) as workers:
        for file in files:
            workers.submit(file.language, export_adapter, job, file)
        yield from workers.results()
