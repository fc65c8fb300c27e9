"""Graphs and data files, written from a checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Any

from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import DataFile, Graph
from mms_export.bundle.contents import Contents
from mms_export.bundle.isolation import Workers
from mms_export.checkpoints.checkpoint import DamagedAdapter, SourceFile
from mms_export.graphs.contract import GraphKey, graph_path, tensors
from mms_export.graphs.writer import Advance, write_graph, write_sharing
from mms_export.tasks.task import DataJob


def export_graph(contents: Contents, folder: Path, key: GraphKey, advance: Advance) -> Graph:
    """Write one graph and return its manifest entry; `advance` receives the bytes written."""
    graph = contents.build(key)
    path = graph_path(folder, *key)
    shares = contents.task.spec(key.name).shares
    if shares:
        files = write_sharing(graph, path, graph_path(folder, shares, key.precision))
    else:
        files = write_graph(graph, path, advance)
    inputs, outputs = tensors(graph)
    return Graph(
        name=key.name,
        precision=key.precision,
        files=tuple(describe(folder, file) for file in files),
        opset=graph.opset,
        inputs=inputs,
        outputs=outputs,
        model=key.model,
    )


def export_data(
    write: Callable[[DataJob, Any], DataFile],
    job: DataJob,
    files: Sequence[SourceFile],
    jobs: int,
) -> Iterator[tuple[str, DataFile | DamagedAdapter]]:
    """Write data files in worker processes, and yield each language when it is finished.

    A damaged language yields its error.

    Raises:
        MmsError: a language cannot be written.
    """
    if jobs == 1 or len(files) < 2:
        for file in files:
            yield file.language, _written(partial(write, job, file))
        return
    with Workers(min(jobs, len(files))) as workers:
        languages = {workers.submit(write, job, file): file.language for file in files}
        for future in as_completed(languages):
            yield languages[future], _written(future.result)


def _written(result: Callable[[], DataFile]) -> DataFile | DamagedAdapter:
    try:
        return result()
    except DamagedAdapter as error:
        return error
