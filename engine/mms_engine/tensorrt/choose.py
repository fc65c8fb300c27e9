"""Choice of a bundle's TensorRT plans for this machine, with a reason for each refusal."""

from dataclasses import dataclass

from mms_engine.bundle.manifest import Manifest, Model, Plan, Runtime, Vits, Wav2Vec2Ctc
from mms_engine.errors import BackendError
from mms_engine.types import Precision

PLANNED_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16")
"""Precisions that plans are built in, best first."""


def planned_graphs(model: Model) -> tuple[str, ...]:
    """Return the graphs that a precision needs plans of.

    The plan of `step` also runs whole utterances, as steps without earlier frames.
    """
    if isinstance(model, Vits):
        return ("text", "flow", "decoder")
    return "frontend", "step" if isinstance(model, Wav2Vec2Ctc) else "encoder"


class NoPlan(BackendError):
    """The bundle has no plan of a runtime."""


@dataclass(frozen=True, slots=True)
class Target:
    """Runtime and GPU that a plan has to fit."""

    runtime: Runtime
    version: str
    """Release of the installed runtime."""
    capability: str
    """Compute capability of the GPU, in the form `8.6`."""


def planned_precision(
    manifest: Manifest, preference: tuple[Precision, ...], machine: Target, model: str = ""
) -> Precision:
    """Return the first of `preference` in which every graph has a plan that runs here.

    Args:
        manifest: Manifest of the bundle.
        preference: Precisions, best first.
        machine: Runtime and GPU.
        model: Key of `Manifest.models`; empty for `Manifest.model`.

    Raises:
        NoPlan: the bundle has no plan of this runtime.
        BackendError: none fits; the message gives the reason for each.
    """
    names = planned_graphs(manifest.model)
    for precision in preference:
        if all(_fitting(manifest, name, precision, machine, model) for name in names):
            return precision
    wanted_of = machine.runtime, model
    plans = [plan for plan in manifest.plans if (plan.runtime, plan.model) == wanted_of]
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


def choose_plan(
    manifest: Manifest, name: str, precision: Precision, machine: Target, model: str = ""
) -> Plan:
    """Return the plan of a graph that runs here; see `planned_precision`.

    Raises:
        BackendError: there is none.
    """
    fitting = _fitting(manifest, name, precision, machine, model)
    if fitting:
        return fitting[0]
    raise BackendError(
        f"the bundle has no {precision} plan of the graph {name} that runs here: build it with "
        f"{_command(machine)} --precision {precision}"
    )


def _command(machine: Target) -> str:
    return f"mms-export --engine {machine.runtime} --sm {machine.capability.replace('.', '')}"


def refusal(manifest: Manifest, plan: Plan, machine: Target) -> str:
    """Return why a plan of the machine's runtime does not run there; empty if it does."""
    path = plan.file.path
    if machine.version != plan.runtime_version:
        return f"{path} was built by {plan.runtime} {plan.runtime_version}, not {machine.version}"
    if machine.capability not in plan.compute_capabilities:
        built = ", ".join(plan.compute_capabilities)
        return f"{path} is for compute capability {built}, this GPU has {machine.capability}"
    graphs = {
        graph.files[0].sha256
        for graph in manifest.graphs
        if (graph.name, graph.precision, graph.model) == (plan.graph, plan.precision, plan.model)
    }
    if plan.graph_sha256 not in graphs:
        return f"{path} was built from another graph than the bundle has now"
    return ""


def _fitting(
    manifest: Manifest, name: str, precision: Precision, machine: Target, model: str
) -> list[Plan]:
    wanted = name, precision, machine.runtime, model
    return [
        plan
        for plan in manifest.plans
        if (plan.graph, plan.precision, plan.runtime, plan.model) == wanted
        and not refusal(manifest, plan, machine)
    ]
