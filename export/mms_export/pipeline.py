"""The export from beginning to end."""

from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from mms_engine.bundle import Manifest
from mms_engine.bundle.schema import Graph, Plan
from mms_engine.errors import BundleError
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.fingerprint import fingerprint
from mms_export.inventory import Inventory, still_good
from mms_export.isolation import run_isolated, run_reporting
from mms_export.options import ExportOptions
from mms_export.parity import Case, compare, demand, reference_logits
from mms_export.progress import Reporter
from mms_export.rehearsal import graph_logits
from mms_export.selection import select_languages
from mms_export.sizes import (
    Part,
    adapter_size,
    all_graphs,
    check_free,
    graph_parts,
    make_planner,
    plan_parts,
)
from mms_export.sources import open_source
from mms_export.stages import WITH_LOGITS, AdapterJob, GraphKey, export_adapters, export_graph
from mms_export.tensorrt.build import build_plan
from mms_export.tensorrt.plans import Planner
from mms_export.tensorrt.progress import STEPS
from mms_export.workspace import Entry, Header, Workspace, locked

ISOLATED_FROM = 256 << 20
"""Bytes of weights from which a model is run in a process whose memory ends with it."""
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def export(options: ExportOptions, reporter: Reporter) -> Manifest:
    """Write or complete the bundle at `options.out`.

    Raises:
        MmsError: the source, the folder or the result is not as it must be.
    """
    checkpoint = open_source(options.model, options.languages)
    languages = select_languages(options.languages, checkpoint.adapters, source=checkpoint.name)
    planner = make_planner(options, checkpoint)
    with locked(options.out):
        work = _Export(options, checkpoint, planner, reporter)
        try:
            return work.run(languages)
        finally:
            work.space.sweep()


class _Export:
    def __init__(
        self,
        options: ExportOptions,
        checkpoint: Checkpoint,
        planner: Planner | None,
        reporter: Reporter,
    ) -> None:
        self._options = options
        self._checkpoint = checkpoint
        self._planner = planner
        self._reporter = reporter
        with reporter.step("reading the checkpoint"):
            self._fingerprint = fingerprint(checkpoint)
        header = Header(fingerprint=self._fingerprint, adapter_dtype=options.adapter_dtype)
        self.space = Workspace(options.out, header)
        self._done = Inventory()

    def run(self, languages: tuple[str, ...]) -> Manifest:
        self.space.sweep()
        with self._reporter.step("checking what is there"):
            self._take_over()
        codes = [code for code in languages if code not in self._done.adapters]
        wanted = all_graphs(self._options.precisions)
        graphs = [key for key in wanted if key not in self._done.graphs]
        parts = graph_parts(self._checkpoint, graphs)
        room = adapter_size(self._checkpoint, codes, self._options.adapter_dtype)
        plans = self._missing_plans()
        check_free(self._options.out, room + sum(part.size for part in (*parts, *plans.values())))
        self._adapters(codes)
        for key, part in zip(graphs, parts, strict=True):
            with self._reporter.step(part.name, part.size) as advance:
                self._graph_done(export_graph(self._checkpoint, self._options.out, key, advance))
        self._parity(languages)
        if self._planner:
            self._plans(self._planner, plans)
        manifest = self._manifest()
        self.space.publish(manifest)
        self.space.finish(manifest)
        return manifest

    def _manifest(self) -> Manifest:
        dtype = self._options.adapter_dtype
        return self._done.manifest(self._checkpoint, self._fingerprint, dtype)

    def _take_over(self) -> None:
        """Take in what earlier exports finished, and let go what is no longer good."""
        earlier = self._earlier()
        if earlier:
            self._done.add_bundle(earlier)
        self.space.resume(self._done)
        self._done = still_good(self._done, self._options.out, self._checkpoint)
        if self._planner:
            self._done.plans = dict(filter(self._is_kept, self._done.plans.items()))
        if earlier and not self._done.covers(earlier):
            # The old manifest must not name files that are about to be replaced.
            self.space.retract(self._manifest())
        self.space.begin(self._done)

    def _is_kept(self, item: tuple[str, Plan]) -> bool:
        return self._planner is None or self._planner.keeps(item[1])

    def _missing_plans(self) -> dict[GraphKey, Part]:
        """Return what has to be built, by the graph it is built from."""
        if not self._planner:
            return {}
        built = {
            (plan.stage, plan.precision)
            for plan in self._done.plans.values()
            if self._planner.satisfies(plan)
        }
        wanted = [key for key in self._planner.graphs if key not in built]
        parts = plan_parts(self._checkpoint, self._planner, wanted)
        return dict(zip(wanted, parts, strict=True))

    def _plans(self, planner: Planner, missing: dict[GraphKey, Part]) -> None:
        for key, part in missing.items():
            job = planner.job(self._options.out, self._done.graphs[key])
            with self._reporter.step(part.name, STEPS, "step") as advance:
                plan = run_reporting(build_plan, advance, job)
            self.space.record(Entry(plan=plan))
            self._done.add_plan(plan)

    def _earlier(self) -> Manifest | None:
        """Return the manifest of a bundle that is to be completed."""
        try:
            earlier = self.space.read_manifest()
            if earlier:
                self._check_same(earlier)
        except BundleError:
            if not self._options.replace:
                raise
            self.space.clear()
            return None
        return earlier

    def _check_same(self, earlier: Manifest) -> None:
        out = self._options.out
        if earlier.source.fingerprint != self._fingerprint:
            raise BundleError(
                f"{out} holds a bundle of {earlier.source.name}, whose weights are not those of "
                f"{self._checkpoint.name}: choose another --out, or give --replace"
            )
        if earlier.adapter_dtype != self._options.adapter_dtype:
            raise BundleError(
                f"{out} holds adapters in {earlier.adapter_dtype}: give "
                f"--adapter-dtype {earlier.adapter_dtype}, choose another --out, or give --replace"
            )

    def _graph_done(self, graph: Graph) -> None:
        self.space.record(Entry(graph=graph))
        self._done.add_graph(graph)

    def _adapters(self, languages: list[str]) -> None:
        if not languages:
            return
        job = AdapterJob(
            folder=self._options.out,
            config=self._checkpoint.config,
            dtype=self._options.adapter_dtype,
            fingerprint=self._fingerprint,
        )
        files = [self._checkpoint.adapters[code] for code in languages]
        with self._reporter.step("adapters", len(files), "language") as advance:
            for language, adapter in export_adapters(job, files, self._options.jobs):
                self.space.record(Entry(language=language, adapter=adapter))
                self._done.adapters[language] = adapter
                advance(1)

    def _parity(self, languages: tuple[str, ...]) -> None:
        case = Case(self._checkpoint.path, (languages[0], languages[min(1, len(languages) - 1)]))
        wanted = [(stage, key) for key in self._options.precisions for stage in WITH_LOGITS]
        unmeasured = [self._done.graphs[key] for key in wanted if not self._done.graphs[key].parity]
        if not unmeasured:
            return
        with self._reporter.step("parity: the torch modules on ten seconds of speech"):
            expected = self._bounded(reference_logits, case)
        for graph in unmeasured:
            with self._reporter.step(f"parity: {graph.stage}.{graph.precision}"):
                out = self._options.out
                found = self._bounded(graph_logits, case, out, graph.precision, graph.stage)
            parity = compare(case, graph.precision, found, expected)
            demand(parity, graph.precision)
            self._graph_done(replace(graph, parity=parity))

    def _bounded(
        self, function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Result:
        """Call a function, in a process of its own where the model is large."""
        size = sum(path.stat().st_size for path in self._checkpoint.weight_files)
        if size < ISOLATED_FROM:
            return function(*args, **kwargs)
        return run_isolated(function, *args, **kwargs)
