"""Which plans an export makes, under which names, and which of those that are there will do."""

from dataclasses import dataclass, replace
from pathlib import Path

from mms_engine.bundle.schema import PLANNED, File, Graph, Plan, Precision, Profile, Stage
from mms_engine.errors import PlanError
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.stages import GraphKey
from mms_export.tensorrt.options import PLAN_PRECISIONS, PlanOptions
from mms_export.tensorrt.profiles import Extents, make_profiles
from mms_export.tensorrt.toolkit import choose_capabilities, open_toolkit, refuse_impossible


@dataclass(frozen=True, slots=True)
class PlanJob:
    """One plan to build. Picklable: the process that builds it gets it."""

    folder: Path
    """The bundle."""
    graph: Graph
    options: PlanOptions
    version: str
    """Release of the runtime."""
    profiles: tuple[Profile, ...]

    @property
    def path(self) -> Path:
        """Where the plan goes."""
        return plan_path(self.folder, (self.graph.stage, self.graph.precision), self)

    def entry(self, file: File) -> Plan:
        """Return the manifest's entry of the plan, which is `file`."""
        graph, options = self.graph, self.options
        return Plan(
            stage=graph.stage,
            precision=graph.precision,
            file=file,
            runtime=options.runtime,
            runtime_version=self.version,
            compute_capabilities=options.capabilities,
            graph_sha256=graph.files[0].sha256,
            inputs=graph.inputs,
            outputs=graph.outputs,
            profiles=self.profiles,
            version_compatible=options.version_compatible,
            hardware_compatibility=options.hardware_compatibility,
            weight_streaming=options.weight_streaming,
            workspace=options.workspace,
        )


class Planner:
    """Knows the plans that one export is asked for."""

    def __init__(
        self, options: PlanOptions, checkpoint: Checkpoint, precisions: tuple[Precision, ...]
    ) -> None:
        """Load the library.

        Raises:
            PlanError: it is not there, or cannot build what is asked for.
        """
        self.precisions = tuple(p for p in precisions if p in PLAN_PRECISIONS)
        if not self.precisions:
            raise PlanError("plans are made of the fp16 and bf16 graphs: add one to --precision")
        toolkit = open_toolkit(options.runtime)
        refuse_impossible(toolkit, options)
        capabilities = choose_capabilities(toolkit, options.capabilities, self.precisions)
        self.options = replace(options, capabilities=capabilities)
        self.version = toolkit.version
        self._extents = Extents.of(checkpoint)

    @property
    def graphs(self) -> list[GraphKey]:
        """The graphs that plans are built from."""
        stages: tuple[Stage, ...] = (*PLANNED, "cached") if self.options.streams else PLANNED
        return [(stage, precision) for precision in self.precisions for stage in stages]

    @property
    def target(self) -> str:
        """The runtime and GPUs in a few words."""
        return f"{self.options.runtime} {_targets(self.options)}"

    def job(self, folder: Path, graph: Graph) -> PlanJob:
        """Return what has to be done for the plan of a graph."""
        return PlanJob(folder, graph, self.options, self.version, self._profiles(graph))

    def keeps(self, plan: Plan) -> bool:
        """Whether an earlier plan may stay beside or instead of those asked for."""
        return self.satisfies(plan) or not self._replaces(plan)

    def satisfies(self, plan: Plan) -> bool:
        """Whether an earlier plan is as good as one built now."""
        wanted = self.options
        return (
            (plan.runtime, plan.runtime_version) == (wanted.runtime, self.version)
            and set(wanted.capabilities) <= set(plan.compute_capabilities)
            and plan.profiles == self._profiles(plan)
            and plan.version_compatible == wanted.version_compatible
            and plan.hardware_compatibility == wanted.hardware_compatibility
            and plan.weight_streaming == wanted.weight_streaming
            and plan.workspace == wanted.workspace
        )

    def _replaces(self, plan: Plan) -> bool:
        """Whether a plan built now makes an earlier one useless: all its GPUs are covered."""
        return (
            plan.runtime == self.options.runtime
            and plan.precision in self.precisions
            and set(plan.compute_capabilities) <= set(self.options.capabilities)
        )

    def _profiles(self, part: Graph | Plan) -> tuple[Profile, ...]:
        return make_profiles(part.stage, part.inputs, self.options.uses, self._extents)


def plan_path(folder: Path, part: GraphKey, made: Planner | PlanJob) -> Path:
    """Return where the plan of a graph lies in a bundle."""
    stage, precision = part
    runtime = f"{made.options.runtime}-{made.version}"
    return folder / "plans" / f"{stage}.{precision}.{runtime}.{_targets(made.options)}.plan"


def _targets(options: PlanOptions) -> str:
    numbers = (capability.replace(".", "") for capability in options.capabilities)
    return f"sm{'-'.join(numbers)}"
