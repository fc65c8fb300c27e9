"""Inventory: the finished parts of a bundle, and which of them are still valid."""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mms_engine.bundle import Manifest
from mms_engine.bundle.files import check
from mms_engine.bundle.manifest import DataFile, File, Graph, Plan, Vits
from mms_engine.errors import BundleError
from mms_engine.types import Precision
from mms_export.checkpoints.checkpoint import Checkpoint, VoiceSet
from mms_export.graphs.contract import GraphKey
from mms_export.tasks.task import Task

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Finished parts, as one line of the journal."""

    graphs: tuple[Graph, ...] = ()
    plans: tuple[Plan, ...] = ()
    data: dict[str, DataFile] = field(default_factory=dict)
    models: dict[str, Vits] = field(default_factory=dict)
    """Those of the manifest."""


@dataclass(slots=True)
class Inventory:
    """Manifest entries of finished parts."""

    graphs: dict[GraphKey, Graph] = field(default_factory=dict)
    data: dict[str, DataFile] = field(default_factory=dict)
    """By language."""
    plans: dict[str, Plan] = field(default_factory=dict)
    """By path of the file."""
    models: dict[str, Vits] = field(default_factory=dict)

    def add(self, parts: Parts | Manifest) -> None:
        """Add parts, or replace those of the same names."""
        self.models |= parts.models
        self.graphs |= {GraphKey.of(graph): graph for graph in parts.graphs}
        self.plans |= {plan.file.path: plan for plan in parts.plans}
        self.data |= parts.data

    def parts(self) -> Parts:
        """Return every part."""
        return Parts(
            graphs=tuple(self.graphs.values()),
            plans=tuple(self.plans.values()),
            data=self.data,
            models=self.models,
        )

    def covers(self, manifest: Manifest) -> bool:
        """Whether every part of a manifest is here, unchanged."""
        other = Inventory()
        other.add(manifest)
        return (
            other.graphs.items() <= self.graphs.items()
            and other.plans.items() <= self.plans.items()
            and other.data.items() <= self.data.items()
        )

    def is_current(self, plan: Plan) -> bool:
        """Whether a plan was built from the graph that is here."""
        graph = self.graphs.get(GraphKey.of(plan))
        return bool(graph and graph.files[0].sha256 == plan.graph_sha256)

    def complete_graphs(self, task: Task, precisions: tuple[Precision, ...]) -> tuple[Graph, ...]:
        """Return the graphs of every precision in which all are here, with parity measured.

        Those of voices whose sizes no voice has any more are left out.
        """
        rows = [
            [self.graphs.get(GraphKey(g.name, p, model)) for g in task.graphs]
            for model in self.used_models()
            for p in precisions
        ]
        needed = [graph.has_parity for graph in task.graphs]
        return tuple(
            graph
            for row in rows
            if all(g and (g.parity or not n) for g, n in zip(row, needed, strict=True))
            for graph in row
            if graph
        )

    def used_models(self) -> list[str]:
        """Return the keys of `models` that a voice has, behind the empty one."""
        return sorted({"", *(entry.model for entry in self.data.values())})


def valid_parts(
    inventory: Inventory,
    folder: Path,
    checkpoint: Checkpoint | VoiceSet,
    current: Callable[[Collection[GraphKey]], Collection[GraphKey]],
) -> Inventory:
    """Return the parts that are whole and up to date; every file is checked against its SHA-256.

    Args:
        inventory: Parts of earlier exports.
        folder: Folder of the bundle.
        checkpoint: Checkpoint of the export.
        current: Chooses from whole graphs those that need not be written again.
    """

    def is_whole(file: File) -> bool:
        try:
            check(folder, file, verify=True)
        except BundleError:
            return False
        return True

    def is_valid_data(language: str, entry: DataFile) -> bool:
        path = folder / entry.file.path
        whole = all(map(is_whole, entry.files()))
        is_same = language not in checkpoint.files or entry.model == checkpoint.model_of(language)
        return whole and is_same and not _is_outdated(language, path, checkpoint)

    valid = Inventory(
        graphs=_filter(inventory.graphs, lambda _, graph: all(map(is_whole, graph.files))),
        data=_filter(inventory.data, is_valid_data),
        models=inventory.models,
    )
    kept = current(valid.graphs)
    valid.graphs = {key: graph for key, graph in valid.graphs.items() if key in kept}
    valid.plans = _filter(
        inventory.plans, lambda _, plan: valid.is_current(plan) and is_whole(plan.file)
    )
    return valid


def _filter(
    entries: Mapping[_Key, _Value], test: Callable[[_Key, _Value], bool]
) -> dict[_Key, _Value]:
    with ThreadPoolExecutor() as pool:
        valid = pool.map(test, entries.keys(), entries.values())
        return {key: entry for (key, entry), ok in zip(entries.items(), valid, strict=True) if ok}


def _is_outdated(language: str, written: Path, checkpoint: Checkpoint | VoiceSet) -> bool:
    """Whether the checkpoint's adapter or voice is newer than its copy."""
    source = checkpoint.files.get(language)
    # The fingerprint of a file of fairseq or torchaudio covers its languages too.
    is_covered = isinstance(checkpoint, Checkpoint) and checkpoint.format in (
        "fairseq",
        "torchaudio",
    )
    if source is None or is_covered or not written.is_file():
        return False
    return source.modified() > written.stat().st_mtime
