"""TensorRT plan builder, run in a process of its own, whose memory ends with it.

Networks are strongly typed: the types of the graph are the types that run. Adapter bank, heads and
slots are inputs, so one plan serves every language.
"""

import re
from pathlib import Path
from typing import Any

from mms_engine.bundle.files import atomic_open, describe
from mms_engine.bundle.manifest import Plan, Profile
from mms_engine.errors import PlanError
from mms_engine.tensorrt.toolkit import make_log
from mms_export.graphs.contract import GraphKey, graph_path
from mms_export.graphs.writer import Advance
from mms_export.tensorrt.checks import check_network
from mms_export.tensorrt.output import write_plan
from mms_export.tensorrt.plans import PlanJob
from mms_export.tensorrt.progress import make_monitor
from mms_export.tensorrt.toolkit import Toolkit, open_toolkit

_SCRATCH = re.compile(r"Total Activation Memory: (\d+) bytes")


def build_plan(advance: Advance, job: PlanJob) -> Plan:
    """Build and write a plan, and return its manifest entry.

    Args:
        advance: Progress callback, called with the number of `progress.STEPS` completed.
        job: Plan to build.

    Raises:
        PlanError: the graph differs from its manifest entry, or the library cannot build it.
        BundleError: the file system refused.
    """
    graph = graph_path(job.folder, *GraphKey.of(job.graph))
    scratch = build_file(advance, job, graph, job.path)
    return job.entry(describe(job.folder, job.path), scratch)


def build_file(advance: Advance, job: PlanJob, source: Path, path: Path) -> tuple[int, ...]:
    """Build the plan of a graph that may lie outside a bundle.

    Returns the scratch memory of each profile, as far as the library reports it.

    Args:
        advance: As for `build_plan`.
        job: Graph, GPUs and profiles.
        source: Path of the `.onnx`.
        path: Path of the plan.

    Raises:
        PlanError, BundleError: as for `build_plan`.
    """
    toolkit = open_toolkit(job.options.runtime)
    scratch: list[int] = []

    def listen(message: str) -> None:
        match = _SCRATCH.match(message)
        if match:
            scratch.append(int(match[1]))

    log = make_log(toolkit.library, listen)
    builder = toolkit.library.Builder(log)
    network, parser = read_network(toolkit, builder, log, source)
    check_network(network, job.graph)
    config = configure(toolkit, builder, job)
    config.progress_monitor = monitor = make_monitor(toolkit.library, advance)
    with atomic_open(path) as stream:
        if not write_plan(toolkit, builder, (network, config), stream):
            raise PlanError(
                f"{toolkit.runtime} {toolkit.version} cannot build {path.name}: "
                f"{'; '.join(log.errors) or 'no reason given'}"
            )
    del parser, monitor  # used by the library until here
    return tuple(scratch)


def read_network(toolkit: Toolkit, builder: Any, log: Any, path: Path) -> tuple[Any, Any]:  # noqa: ANN401
    """Parse the `.onnx` at `path`.

    Returns:
        The network, and the parser, which holds its weights and must live as long.

    Raises:
        PlanError: the library does not support the graph.
    """
    network = toolkit.create_network(builder)
    parser = toolkit.library.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = [f"{error.node_operator()}: {error.desc()}" for error in errors]
        raise PlanError(
            f"{toolkit.runtime} {toolkit.version} cannot read {path}: "
            f"{'; '.join(reasons) or 'no reason given'}"
        )
    return network, parser


def configure(toolkit: Toolkit, builder: Any, job: PlanJob) -> Any:  # noqa: ANN401
    """Return the builder configuration of a job: memory, GPUs and optimisation profiles."""
    config = builder.create_builder_config()
    toolkit.conserve_memory(config)
    toolkit.aim(config, job.options.capabilities)
    for profile in job.profiles:
        _add_profile(builder, config, profile)
    return config


def _add_profile(builder: Any, config: Any, profile: Profile) -> None:  # noqa: ANN401
    shapes = builder.create_optimization_profile()
    for name, extent in profile.shapes.items():
        shapes.set_shape(name, extent.min, extent.opt, extent.max)
    if config.add_optimization_profile(shapes) < 0:
        raise PlanError(f"the shapes of profile {profile.name} contradict each other")
