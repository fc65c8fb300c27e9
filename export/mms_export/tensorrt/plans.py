"""Plans of an export: which to build, their file names, and which existing ones suffice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mms_engine.bundle.manifest import File, Graph, Plan, Profile
from mms_engine.errors import PlanError
from mms_engine.types import Precision
from mms_export.checkpoints.checkpoint import Checkpoint, VoiceSet
from mms_export.graphs.contract import GraphKey
from mms_export.tensorrt.options import PLAN_PRECISIONS, PlanOptions
from mms_export.tensorrt.profiles import Extents, SpeechExtents, make_profiles
from mms_export.tensorrt.toolkit import choose_capabilities, open_toolkit


@dataclass(frozen=True, slots=True)
class PlanJob:
    """One plan to build. Picklable, for the process that builds it."""

    folder: Path
    """Folder of the bundle."""
    graph: Graph
    options: PlanOptions
    version: str
    """Release of the runtime."""
    profiles: tuple[Profile, ...]

    @property
    def path(self) -> Path:
        """Path of the plan."""
        runtime = f"{self.options.runtime}-{self.version}"
        name = f"{GraphKey.of(self.graph).label}.{runtime}.{_target(self.options)}.plan"
        return self.folder / "plans" / name

    def entry(self, file: File, scratch: tuple[int, ...]) -> Plan:
        """Return the manifest entry of the plan in `file`, with the builder's figures."""
        graph = self.graph
        return Plan(
            graph=graph.name,
            precision=graph.precision,
            file=file,
            runtime=self.options.runtime,
            runtime_version=self.version,
            compute_capabilities=self.options.capabilities,
            graph_sha256=graph.files[0].sha256,
            inputs=graph.inputs,
            outputs=graph.outputs,
            profiles=self.profiles,
            model=graph.model,
            scratch=scratch if len(scratch) == len(self.profiles) else (),
        )


class Planner:
    """Plans that one export has to provide."""

    def __init__(
        self,
        options: PlanOptions,
        checkpoint: Checkpoint | VoiceSet,
        precisions: tuple[Precision, ...],
        names: Sequence[str],
    ) -> None:
        """Load the runtime and resolve the compute capabilities.

        Args:
            options: Runtime, GPUs and profiles.
            checkpoint: Checkpoint of the graphs.
            precisions: Precisions of the export; plans are built for 16-bit ones.
            names: Names of the graphs to build plans of.

        Raises:
            PlanError: the runtime is not installed, or cannot build these plans.
        """
        self.precisions = tuple(p for p in precisions if p in PLAN_PRECISIONS)
        if not self.precisions:
            raise PlanError("plans are built from the fp16 and bf16 graphs: add one to --precision")
        toolkit = open_toolkit(options.runtime)
        capabilities = choose_capabilities(toolkit, options.capabilities, self.precisions)
        self.options = replace(options, capabilities=capabilities)
        self.version = toolkit.version
        self._names = names
        self._extents: dict[str, Extents | SpeechExtents] = {}
        """By key of `Manifest.models`."""
        for model in sorted({checkpoint.model_of(code) for code in checkpoint.files} or {""}):
            self._extents[model] = (
                SpeechExtents.of(checkpoint, model)
                if isinstance(checkpoint, VoiceSet)
                else Extents.of(checkpoint)
            )

    @property
    def graphs(self) -> list[GraphKey]:
        """Graphs to build plans of."""
        return [
            GraphKey(name, precision, model)
            for model in self._extents
            for precision in self.precisions
            for name in self._names
        ]

    @property
    def target(self) -> str:
        """Runtime and GPUs, for display."""
        return f"{self.options.runtime} {_target(self.options)}"

    def job(self, folder: Path, graph: Graph, *, whole: bool = False) -> PlanJob:
        """Return the job that builds the plan of a graph; `whole` as for `make_profiles`."""
        profiles = self._profiles(graph, whole=whole)
        return PlanJob(folder, graph, self.options, self.version, profiles)

    def keeps(self, plan: Plan) -> bool:
        """Whether an existing plan stays in the bundle."""
        replaced = (
            plan.runtime == self.options.runtime
            and plan.precision in self.precisions
            and set(plan.compute_capabilities) <= set(self.options.capabilities)
        )
        return self.satisfies(plan) or not replaced or plan.model not in self._extents

    def satisfies(self, plan: Plan) -> bool:
        """Whether an existing plan is equivalent to one built now."""
        return (
            plan.model in self._extents
            and (plan.runtime, plan.runtime_version) == (self.options.runtime, self.version)
            and set(self.options.capabilities) <= set(plan.compute_capabilities)
            and plan.profiles == self._profiles(plan)
        )

    def _profiles(self, part: Graph | Plan, *, whole: bool = False) -> tuple[Profile, ...]:
        return make_profiles(
            part.inputs,
            self.options.uses,
            self._extents[part.model],
            whole=whole,
            joined=self.options.runtime == "tensorrt-rtx",
        )


def _target(options: PlanOptions) -> str:
    numbers = (capability.replace(".", "") for capability in options.capabilities)
    return f"sm{'-'.join(numbers)}"
