"""Which of a bundle's TensorRT plans runs here, and why another does not."""

from dataclasses import dataclass

from mms_engine.bundle.schema import PLANNED, Manifest, Plan, Precision, Runtime, Stage
from mms_engine.errors import BackendError

_AMPERE = (8, 0)


class NoPlan(BackendError):
    """A bundle has no plan of a runtime at all."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan has to fit."""

    runtime: Runtime
    version: str
    """Of the runtime that is installed."""
    capability: str
    """Compute capability of the GPU, as `8.6`."""


def planned_precision(
    manifest: Manifest, preference: tuple[Precision, ...], machine: Target
) -> Precision:
    """Return the first of `preference` in which every stage has a plan that runs here.

    Raises:
        NoPlan: the bundle has no plan of this runtime.
        BackendError: it has, and none fits; the message says why for each.
    """
    for precision in preference:
        if all(_fitting(manifest, stage, precision, machine) for stage in PLANNED):
            return precision
    plans = [plan for plan in manifest.plans if plan.runtime == machine.runtime]
    build = _command(machine)
    if not plans:
        raise NoPlan(f"the bundle has no plan of {machine.runtime}: build them with {build}")
    reasons = dict.fromkeys(refusal(manifest, plan, machine) for plan in plans)
    unfit = "; ".join(reason for reason in reasons if reason)
    wanted = " or ".join(preference)
    raise BackendError(
        f"no plan of {machine.runtime} in {wanted} runs here: "
        f"{unfit or 'the bundle has them in other precisions'}; build one with {build}"
    )


def choose_plan(manifest: Manifest, stage: Stage, precision: Precision, machine: Target) -> Plan:
    """Return the plan of a stage that runs here.

    Raises:
        BackendError: there is none.
    """
    fitting = _fitting(manifest, stage, precision, machine)
    if fitting:
        return fitting[0]
    if stage in PLANNED:
        raise BackendError(f"the bundle has no {precision} plan of the {stage} that runs here")
    raise BackendError(
        f"the bundle has no {precision} plan of the graph {stage} that runs here: build it with "
        f"{_command(machine)} --precision {precision} --streams, or stream in windows, which "
        "costs more (--context window)"
    )


def _command(machine: Target) -> str:
    return f"mms-export --engine {machine.runtime} --sm {machine.capability.replace('.', '')}"


def refusal(manifest: Manifest, plan: Plan, machine: Target) -> str:
    """Return why a plan of the machine's runtime does not run there; empty where it does."""
    path = plan.file.path
    if machine.version != plan.runtime_version and not _reads(plan, machine.version):
        return f"{path} was built by {plan.runtime} {plan.runtime_version}, not {machine.version}"
    if not _runs_on(plan, machine.capability):
        built = ", ".join(plan.compute_capabilities)
        return f"{path} is for compute capability {built}, this GPU has {machine.capability}"
    graphs = {
        graph.files[0].sha256
        for graph in manifest.graphs
        if (graph.stage, graph.precision) == (plan.stage, plan.precision)
    }
    if plan.graph_sha256 not in graphs:
        return f"{path} was built from another graph than the bundle has now"
    return ""


def _fitting(manifest: Manifest, stage: Stage, precision: Precision, machine: Target) -> list[Plan]:
    return [
        plan
        for plan in manifest.plans
        if (plan.stage, plan.precision, plan.runtime) == (stage, precision, machine.runtime)
        and not refusal(manifest, plan, machine)
    ]


def _reads(plan: Plan, version: str) -> bool:
    return plan.version_compatible and _numbers(version) >= _numbers(plan.runtime_version)


def _runs_on(plan: Plan, capability: str) -> bool:
    if plan.hardware_compatibility == "ampere+":
        return _numbers(capability) >= _AMPERE
    return capability in plan.compute_capabilities


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
