"""Builds one plan. Runs in a process of its own, which Ctrl-C ends and whose memory ends with it.

The types in the graph are the types that run. Adapter bank, heads and slots are inputs like any
other: one plan serves every language.
"""

from pathlib import Path
from typing import Any

from mms_engine.bundle.files import atomic_open, describe
from mms_engine.bundle.schema import Plan, Profile
from mms_engine.cuda.driver import cuda_driver
from mms_engine.errors import PlanError
from mms_export.progress import Advance
from mms_export.stages import graph_path
from mms_export.tensorrt.checks import check_engine, check_network
from mms_export.tensorrt.network import make_log, read_network
from mms_export.tensorrt.options import PlanOptions
from mms_export.tensorrt.output import write_plan
from mms_export.tensorrt.plans import PlanJob
from mms_export.tensorrt.progress import make_monitor
from mms_export.tensorrt.toolkit import Toolkit, open_toolkit

_HARDWARE = {"ampere+": "AMPERE_PLUS", "same-capability": "SAME_COMPUTE_CAPABILITY"}


def build_plan(advance: Advance, job: PlanJob) -> Plan:
    """Build, check and write a plan, and return its manifest entry.

    Args:
        advance: Told how many of `progress.STEPS` steps were done.
        job: The plan.

    Raises:
        PlanError: the graph is not what the manifest says, or the library cannot build it.
        BundleError: the file system refused.
    """
    toolkit = open_toolkit(job.options.runtime)
    log = make_log(toolkit.library)
    builder = toolkit.library.Builder(log)
    graph = graph_path(job.folder, job.graph.stage, job.graph.precision)
    network, parser = read_network(toolkit, builder, log, graph)
    check_network(network, job.graph)
    config = _configure(toolkit, builder, job)
    config.progress_monitor = monitor = make_monitor(toolkit.library, advance)
    cache = _TimingCache(job.options.timing_cache, config)
    with atomic_open(job.path) as stream:
        if not write_plan(toolkit, builder, (network, config), stream):
            raise PlanError(
                f"{toolkit.runtime} {toolkit.version} cannot build {job.path.name}: "
                f"{'; '.join(log.errors) or 'it does not say why'}"
            )
    del parser, monitor  # the library used both until here
    cache.save()
    plan = job.entry(describe(job.folder, job.path))
    _check_loaded(toolkit, log, plan, job.path)
    return plan


def _configure(toolkit: Toolkit, builder: Any, job: PlanJob) -> Any:  # noqa: ANN401
    config, options, library = builder.create_builder_config(), job.options, toolkit.library
    toolkit.aim(config, options.capabilities)
    for profile in job.profiles:
        _add_profile(builder, config, profile)
    if options.workspace is not None:
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, options.workspace)
    for flag in _flags(options):
        config.set_flag(getattr(library.BuilderFlag, flag))
    if options.hardware_compatibility != "none":
        level = getattr(
            library.HardwareCompatibilityLevel, _HARDWARE[options.hardware_compatibility]
        )
        config.hardware_compatibility_level = level
    return config


def _flags(options: PlanOptions) -> list[str]:
    given = {
        "VERSION_COMPATIBLE": options.version_compatible,
        "WEIGHT_STREAMING": options.weight_streaming,
    }
    return [flag for flag, wanted in given.items() if wanted]


def _add_profile(builder: Any, config: Any, profile: Profile) -> None:  # noqa: ANN401
    shapes = builder.create_optimization_profile()
    for name, extent in profile.shapes.items():
        shapes.set_shape(name, extent.min, extent.opt, extent.max)
    if config.add_optimization_profile(shapes) < 0:
        raise PlanError(f"the profile {profile.name} has shapes that contradict each other")


class _TimingCache:
    """Kernel times measured by earlier builds, in a file; nothing where none is named."""

    def __init__(self, path: Path | None, config: Any) -> None:  # noqa: ANN401
        self._path = path
        self._config = config
        if path:
            content = path.read_bytes() if path.is_file() else b""
            cache = config.create_timing_cache(content)
            if not config.set_timing_cache(cache, ignore_mismatch=False):
                raise PlanError(f"{path} is the timing cache of another GPU or release: remove it")

    def save(self) -> None:
        """Write what was measured."""
        if self._path:
            with atomic_open(self._path) as stream:
                stream.write(self._config.get_timing_cache().serialize())


def _check_loaded(toolkit: Toolkit, log: Any, plan: Plan, path: Path) -> None:  # noqa: ANN401
    """Load the plan and compare it with its entry, where there is a GPU that it is for."""
    here = cuda_driver().capabilities[:1]
    if not set(here) & set(plan.compute_capabilities):
        return
    engine = toolkit.library.Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise PlanError(f"{plan.file.path} was built but cannot be loaded: {'; '.join(log.errors)}")
    check_engine(engine, plan)
