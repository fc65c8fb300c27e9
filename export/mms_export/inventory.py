"""What of a bundle is there already, and what of it is still good."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mms_engine.bundle import Manifest
from mms_engine.bundle.files import check
from mms_engine.bundle.schema import (
    PRECISIONS,
    SCHEMA_VERSION,
    Adapter,
    File,
    Graph,
    Plan,
    Precision,
    Source,
)
from mms_engine.errors import BundleError
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.graphs.contract import RECIPE
from mms_export.stages import STAGES, WITH_LOGITS, AdapterDtype, GraphKey, adapter_path

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Inventory:
    """The parts of a bundle."""

    graphs: dict[GraphKey, Graph] = field(default_factory=dict)
    adapters: dict[str, Adapter] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    """By the path of the file."""

    def add_graph(self, graph: Graph) -> None:
        """Take in a graph."""
        self.graphs[graph.stage, graph.precision] = graph

    def add_plan(self, plan: Plan) -> None:
        """Take in a plan."""
        self.plans[plan.file.path] = plan

    def add_bundle(self, manifest: Manifest) -> None:
        """Take in all that a manifest names."""
        for graph in manifest.graphs:
            self.add_graph(graph)
        self.adapters |= manifest.adapters
        for plan in manifest.plans:
            self.add_plan(plan)

    def covers(self, manifest: Manifest) -> bool:
        """Whether everything a manifest names is here, unchanged."""
        graphs = all(self.graphs.get((g.stage, g.precision)) == g for g in manifest.graphs)
        adapters = manifest.adapters.items()
        same = all(self.adapters.get(code) == entry for code, entry in adapters)
        plans = all(self.plans.get(plan.file.path) == plan for plan in manifest.plans)
        return graphs and same and plans

    def is_complete(self, precision: Precision) -> bool:
        """Whether every graph of a precision is here, and measured where it can be."""
        graphs = [self.graphs.get((stage, precision)) for stage in STAGES]
        return all(g and (g.parity or g.stage not in WITH_LOGITS) for g in graphs)

    def is_current(self, plan: Plan) -> bool:
        """Whether a plan was built from the graph that is here."""
        graph = self.graphs.get((plan.stage, plan.precision))
        return bool(graph and graph.files[0].sha256 == plan.graph_sha256)

    def manifest(
        self, checkpoint: Checkpoint, fingerprint: str, adapter_dtype: AdapterDtype
    ) -> Manifest:
        """Return the manifest of what is complete."""
        complete = tuple(filter(self.is_complete, PRECISIONS))
        return Manifest(
            schema_version=SCHEMA_VERSION,
            task="asr",
            source=Source(
                name=checkpoint.name,
                format=checkpoint.format,
                fingerprint=fingerprint,
                licence=checkpoint.licence,
                notice=checkpoint.notice,
            ),
            sample_rate=checkpoint.sample_rate,
            normalize=checkpoint.normalize,
            architecture=checkpoint.config.architecture(),
            adapter_dtype=adapter_dtype,
            graphs=tuple(self.graphs[stage, p] for p in complete for stage in STAGES),
            adapters=dict(sorted(self.adapters.items())),
            plans=tuple(
                plan
                for _, plan in sorted(self.plans.items())
                if plan.precision in complete and self.is_current(plan)
            ),
        )


def still_good(inventory: Inventory, folder: Path, checkpoint: Checkpoint) -> Inventory:
    """Return what is whole and up to date; every file is read and compared with its SHA-256."""

    def is_whole(file: File) -> bool:
        try:
            check(folder, file, verify=True)
        except BundleError:
            return False
        return True

    def is_good_graph(_: object, graph: Graph) -> bool:
        return graph.recipe == RECIPE and all(map(is_whole, graph.files))

    def is_good_adapter(language: str, adapter: Adapter) -> bool:
        return not _is_outdated(language, folder, checkpoint) and is_whole(adapter.file)

    good = Inventory(
        graphs=_filter(inventory.graphs, is_good_graph),
        adapters=_filter(inventory.adapters, is_good_adapter),
    )
    good.plans = _filter(
        inventory.plans, lambda _, plan: good.is_current(plan) and is_whole(plan.file)
    )
    return good


def _filter(
    entries: Mapping[_Key, _Value], test: Callable[[_Key, _Value], bool]
) -> dict[_Key, _Value]:
    with ThreadPoolExecutor() as pool:
        good = pool.map(test, entries.keys(), entries.values())
        return {key: entry for (key, entry), ok in zip(entries.items(), good, strict=True) if ok}


def _is_outdated(language: str, folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint's adapter is younger than its copy."""
    source = checkpoint.adapters.get(language)
    written = adapter_path(folder, language)
    # Of a fairseq file the fingerprint covers the adapters too.
    if source is None or source.format == "fairseq" or not written.is_file():
        return False
    return source.path.stat().st_mtime > written.stat().st_mtime
