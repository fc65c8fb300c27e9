"""Export pipeline: checkpoint to bundle, continuing what earlier exports have finished."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from mms_engine.bundle import Manifest
from mms_engine.bundle.files import partial_token
from mms_engine.bundle.manifest import SCHEMA, Graph, Profile, Runtime, Source
from mms_engine.errors import BundleError
from mms_engine.types import PRECISIONS
from mms_export.bundle.contents import Contents, check_free, open_contents
from mms_export.bundle.inventory import Inventory, Parts, valid_parts
from mms_export.bundle.isolation import run_isolated, run_reporting
from mms_export.bundle.options import ExportOptions
from mms_export.bundle.parts import export_data, export_graph
from mms_export.bundle.workspace import Header, Workspace, locked
from mms_export.checkpoints.checkpoint import DamagedAdapter
from mms_export.checkpoints.selection import parse_patterns
from mms_export.graphs.contract import GraphKey
from mms_export.graphs.writer import Advance
from mms_export.tensorrt.build import build_file, build_plan
from mms_export.tensorrt.plans import Planner
from mms_export.tensorrt.progress import STEPS
from mms_export.triton.repository import PlanBuilder, graph_precision, write_repository

ISOLATED_FROM = 256 << 20
"""Bytes of weights from which parity runs in a process of its own, whose memory ends with it."""
TRITON_RUNTIME: Runtime = "tensorrt"
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class Progress(Protocol):
    """Display of an export's progress."""

    def step(self, label: str, total: int = 0, unit: str = "B") -> AbstractContextManager[Advance]:
        """Show one step and yield its progress callback; `total` is 0 where it is unknown."""
        ...

    def warn(self, sentence: str) -> None:
        """Show a warning."""
        ...


def export(options: ExportOptions, progress: Progress) -> Manifest:
    """Write or complete the bundle at `options.out`.

    Raises:
        MmsError: the checkpoint, the folder or the parity of a graph is not acceptable.
    """
    contents = open_contents(options)
    for sentence in contents.warnings:
        progress.warn(sentence)
    with locked(options.out):
        work = _Export(contents, progress)
        with partial_token(work.space.token):
            try:
                return work.run()
            finally:
                work.space.sweep()


class _Export:
    def __init__(self, contents: Contents, progress: Progress) -> None:
        self._contents = contents
        self._options = contents.options
        self._checkpoint = contents.checkpoint
        self._progress = progress
        with progress.step("reading the checkpoint"):
            self._digests = self._checkpoint.digests()
        self._fingerprint = self._checkpoint.fingerprint(self._digests)
        header = Header(fingerprint=self._fingerprint, data_dtype=self._contents.data_dtype)
        self.space = Workspace(self._options.out, header)
        self._done = Inventory()
        self._bundle_source: Source | None = None
        """Source of the bundle to complete, if it is there."""

    def run(self) -> Manifest:
        self.space.sweep()
        with self._progress.step("checking existing files"):
            self._take_over()
        contents, planner = self._contents, self._contents.planner
        languages = [code for code in contents.languages if not self._has_data(code)]
        graphs = [key for key in contents.graphs if key not in self._done.graphs]
        plans = self._missing_plans(planner) if planner else []
        sizes = contents.sizes(graphs, plans, languages)
        check_free(self._options.out, sum(sizes.values()))
        self._write_data(languages)
        used = self._done.used_models()
        for key in graphs:
            if key.model not in used:
                continue  # its voices were damaged
            with self._progress.step(key.label, sizes[key.label]) as advance:
                graph = export_graph(contents, self._options.out, key, advance)
            self._record(Parts(graphs=(graph,)))
        self._measure_parity()
        if planner:
            self._build_plans(planner, plans)
        manifest = self._manifest()
        self.space.publish(manifest)
        self.space.finish(manifest)
        if self._options.triton is not None:
            self._write_triton(self._options.triton)
        return manifest

    def _manifest(self) -> Manifest:
        """Return the manifest of the precisions that are complete."""
        checkpoint, done = self._checkpoint, self._done
        graphs = done.complete_graphs(self._contents.task, PRECISIONS)
        precisions = {graph.precision for graph in graphs}
        return Manifest(
            schema=SCHEMA,
            model=self._contents.task.model(checkpoint),
            models={key: done.models[key] for key in done.used_models() if key},
            source=self._source(),
            sample_rate=checkpoint.sample_rate,
            graphs=graphs,
            plans=tuple(
                plan
                for _, plan in sorted(done.plans.items())
                if plan.precision in precisions and done.is_current(plan)
            ),
            data=dict(sorted(done.data.items())),
            data_dtype=self._contents.data_dtype,
        )

    def _source(self) -> Source:
        """Return the description of the base model.

        A language from another folder with the same weights does not rename the bundle.
        """
        checkpoint, earlier = self._checkpoint, self._bundle_source
        if earlier is not None and earlier.name != checkpoint.name:
            return earlier
        return Source(
            name=checkpoint.name,
            format=checkpoint.format,
            fingerprint=self._fingerprint,
            sha256=self._digests,
            licence=checkpoint.licence,
            notice=checkpoint.notice,
        )

    def _take_over(self) -> None:
        """Adopt the valid parts of earlier exports, and drop the others."""
        earlier = self._earlier()
        self.space.claim(self._contents.paths(), may_replace=self._options.replace)
        if earlier:
            self._bundle_source = earlier.source
            self._done.add(earlier)
        self.space.resume(self._done)
        self._done = valid_parts(
            self._done, self._options.out, self._checkpoint, self._contents.current
        )
        planner = self._contents.planner
        if planner:
            plans = self._done.plans.items()
            self._done.plans = {path: plan for path, plan in plans if planner.keeps(plan)}
        if earlier and not self._done.covers(earlier):
            # The manifest may not name files that are about to be replaced.
            self.space.retract(self._manifest())
        self._done.models |= self._checkpoint.models
        self.space.begin(self._done)

    def _earlier(self) -> Manifest | None:
        """Return the manifest of a bundle to complete; with `replace`, remove one that is not."""
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
        if earlier.sample_rate != self._checkpoint.sample_rate:
            raise BundleError(
                f"{out} has {earlier.sample_rate} samples per second, {self._checkpoint.name} has "
                f"{self._checkpoint.sample_rate}: choose another --out, or give --replace"
            )
        if earlier.data_dtype != self._contents.data_dtype:
            noun = self._contents.task.data.noun if self._contents.task.data else "weights"
            raise BundleError(
                f"{out} holds {noun} in {earlier.data_dtype}: give "
                f"--adapter-dtype {earlier.data_dtype}, choose another --out, or give --replace"
            )

    def _has_data(self, language: str) -> bool:
        """Whether the data of a language are here, for every precision."""
        data, entry = self._contents.task.data, self._done.data.get(language)
        job = self._contents.data_job(self._fingerprint)
        return bool(data and entry and data.is_complete(job, entry))

    def _record(self, parts: Parts) -> None:
        self.space.record(parts)
        self._done.add(parts)

    def _write_data(self, languages: list[str]) -> None:
        data = self._contents.task.data
        if data is None or not languages:
            return
        options, files = self._options, self._checkpoint.files
        job = self._contents.data_job(self._fingerprint)
        failed = dict[str, DamagedAdapter]()
        with self._progress.step(data.noun, len(languages), "language") as advance:
            for language, entry in export_data(
                data.write, job, [files[code] for code in languages], options.jobs
            ):
                if isinstance(entry, DamagedAdapter):
                    failed[language] = entry
                else:
                    self._record(Parts(data={language: entry}))
                advance(1)
        named = parse_patterns(options.languages)
        for language, error in failed.items():
            if language in named or self._done.data.keys().isdisjoint(self._contents.languages):
                raise error
            self._progress.warn(f"skipped: {error}")

    def _measure_parity(self) -> None:
        task = self._contents.task
        graphs = [self._done.graphs[k] for k in self._contents.graphs if k in self._done.graphs]
        unmeasured = [g for g in graphs if task.spec(g.name).has_parity and not g.parity]
        for model in sorted({graph.model for graph in unmeasured}):
            self._measure(model, [graph for graph in unmeasured if graph.model == model])

    def _measure(self, model: str, graphs: list[Graph]) -> None:
        """Measure the parity of graphs, on the languages of their model."""
        task, out, checkpoint = self._contents.task, self._options.out, self._checkpoint
        languages = [
            code
            for code in self._contents.languages
            if code in self._done.data and checkpoint.model_of(code) == model
        ]
        case = task.case(checkpoint, languages)
        with self._progress.step(f"parity: reference network on {task.sample}"):
            expected = self._bounded(task.reference, case)
        for graph in graphs:
            with self._progress.step(f"parity: {GraphKey.of(graph).label}"):
                found = self._bounded(task.outputs, case, out, graph.precision, graph.name)
            parity = task.compare(case, graph.precision, found, expected[graph.name])
            self._record(Parts(graphs=(replace(graph, parity=parity),)))

    def _bounded(
        self, function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Result:
        """Call a function, in a process of its own if the model is large."""
        size = sum(path.stat().st_size for path in self._checkpoint.weight_files)
        if size < ISOLATED_FROM:
            return function(*args, **kwargs)
        return run_isolated(function, *args, **kwargs)

    def _write_triton(self, folder: Path) -> None:
        """Write a model repository of Triton from the finished bundle."""
        languages = [code for code in self._contents.languages if code in self._done.data]
        size = self._contents.triton_bank(languages).size
        precision = graph_precision(self._options.precisions)
        check_free(folder.resolve().parent, size)
        with self._progress.step(f"triton: bank of {len(languages)} languages", size) as advance:
            write_repository(
                self._options.out, languages, folder, precision, advance, self._triton_plans()
            )

    def _triton_plans(self) -> PlanBuilder | None:
        """Return a builder of plans for Triton, which has TensorRT but not TensorRT for RTX."""
        planner = self._contents.planner
        if planner is None or planner.options.runtime != TRITON_RUNTIME:
            return None

        def build(graph: Graph, source: Path, path: Path) -> tuple[Profile, ...]:
            job = planner.job(self._options.out, graph, whole=True)
            with self._progress.step(f"triton: plan of {graph.name}", STEPS, "step") as advance:
                run_reporting(build_file, advance, job, source, path)
            return job.profiles

        return build

    def _missing_plans(self, planner: Planner) -> list[GraphKey]:
        """Return the graphs whose plans have to be built."""
        plans = filter(planner.satisfies, self._done.plans.values())
        built = {GraphKey.of(plan) for plan in plans}
        return [key for key in planner.graphs if key not in built]

    def _build_plans(self, planner: Planner, missing: list[GraphKey]) -> None:
        for key in missing:
            if key not in self._done.graphs:
                continue  # its voices were damaged
            job = planner.job(self._options.out, self._done.graphs[key])
            with self._progress.step(self._contents.plan_name(key), STEPS, "step") as advance:
                plan = run_reporting(build_plan, advance, job)
            self._record(Parts(plans=(plan,)))
