"""Checks of `mms doctor`."""

import dataclasses
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mms_engine.backends import packed
from mms_engine.backends.probes import MODULES, installed_version
from mms_engine.backends.registry import BACKENDS, available
from mms_engine.bundle import open_bundle, stamps
from mms_engine.bundle.manifest import Manifest
from mms_engine.cli.program import one_line
from mms_engine.cli.progress import byte_bar
from mms_engine.cuda.driver import cuda_driver
from mms_engine.cuda.packages import VARIABLE, chosen_package
from mms_engine.errors import BackendError, BundleError
from mms_engine.system import cpu_info, demo_bundle, printable, processor_name, usable_cores
from mms_engine.tensorrt import compiled
from mms_engine.tensorrt.choose import Target, refusal
from mms_kernels.cuda import architectures, compiler_release, fatbin_path, portable

State = Literal["ok", "absent", "broken"]
_PACKAGES = ("mms-engine", "numpy", "av", "soxr", "safetensors")
_RUNTIMES = re.compile(r"onnxruntime(-(gpu|directml|openvino|rocm|qnn|silicon))?")
_CPU_FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp")


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    check: str
    state: State
    """`absent` for a missing optional part; `broken` makes the command exit with 1."""
    detail: str


def diagnose(bundle: Path | None, *, verify: bool = False) -> list[Finding]:
    """Run every check.

    Args:
        bundle: Bundle to check; `None` for the default one.
        verify: Whether to check the SHA-256 of its files, not only their sizes.
    """
    return [
        *_packages(),
        _cpu(),
        _gpu(),
        _cuda_kernels(),
        _driver_package(),
        *_backends(),
        _clash(),
        _packed(),
        *_bundle(bundle, verify=verify),
    ]


def clear_caches() -> str:
    """Remove what is kept for the next start; return a sentence that says how much it was."""
    size = packed.clear() + compiled.clear()
    count = stamps.clear()
    return (
        f"Removed {size / 1e9:.2f} GB of packed weights and compiled kernels, and {count} stamps "
        "of checked files."
    )


def report(findings: list[Finding], *, as_json: bool) -> str:
    """Return the findings as lines, or as JSON."""
    if as_json:
        texts = [dataclasses.replace(f, detail=printable(f.detail)) for f in findings]
        return msgspec.json.format(msgspec.json.encode(texts)).decode() + "\n"
    width = max(len(finding.check) for finding in findings)
    return "".join(f"{f.state:7} {f.check:{width}}  {f.detail}\n" for f in findings)


def _packages() -> Iterator[Finding]:
    where = f"{platform.python_version()} on {platform.platform()}"
    yield Finding("python", "ok", where)
    for name in _PACKAGES:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "broken", f"not installed: pip install {name}")


def _cpu() -> Finding:
    known = cpu_info("flags", "Features").split()
    features = " ".join(name for name in _CPU_FEATURES if name in known)
    parts = [f"{usable_cores()} cores", processor_name(), features]
    return Finding("cpu", "ok", ", ".join(filter(None, parts)))


def _gpu() -> Finding:
    driver = cuda_driver()
    if not driver.devices:
        return Finding("gpu", "absent", driver.reason)
    return Finding("gpu", "ok", f"{', '.join(driver.devices)}, driver for CUDA {driver.version}")


def _cuda_kernels() -> Finding:
    path = fatbin_path()
    if path is None:
        detail = (
            "not in this installation, which was built without nvcc: reinstall from source with "
            "nvcc on the path, or with CUDAToolkit_ROOT set"
        )
        return Finding("cuda kernels", "absent", detail)
    try:
        fatbin = path.read_bytes()
        compiled, ptx = architectures(fatbin), portable(fatbin)
    except (OSError, ValueError) as error:
        return Finding("cuda kernels", "broken", f"{path}: {one_line(error)}")
    listed = f"for sm {', '.join(map(str, compiled))}"
    if ptx:
        listed += f", and others from {ptx} on, for which the driver compiles them"
    release, supported = compiler_release(path), cuda_driver().version
    if release and supported and _major(release) > _major(supported):
        detail = (
            f"compiled by nvcc {release}, and the driver supports CUDA {supported}: install a "
            f"newer driver, or reinstall from source with an nvcc of CUDA {_major(supported)}"
        )
        return Finding("cuda kernels", "absent", detail)
    return Finding("cuda kernels", "ok", listed)


def _major(release: str) -> int:
    return int(release.partition(".")[0])


def _driver_package() -> Finding:
    try:
        name = chosen_package()
    except BackendError as error:
        state: State = "broken" if os.environ.get(VARIABLE) else "absent"
        return Finding("driver package", state, f"{error}; TensorRT needs it")
    return Finding("driver package", "ok", f"{name} {installed_version(name)}")


def _backends() -> Iterator[Finding]:
    found = available()
    for name, availability in found.items():
        yield Finding(name, "ok" if availability.usable else "absent", availability.reason)
    if not any(availability.usable for availability in found.values()):
        yield Finding("backends", "broken", "none is usable: pip install 'mms-engine[cpu]'")


def _clash() -> Finding:
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    runtimes = sorted(name for name in names if _RUNTIMES.fullmatch(name))
    if len(runtimes) > 1:
        detail = (
            f"{' and '.join(runtimes)} overwrite each other's files: uninstall both, then "
            "install one with pip install 'mms-engine[cpu]' or 'mms-engine[gpu]'"
        )
        return Finding("onnxruntime packages", "broken", detail)
    if not runtimes:
        return Finding("onnxruntime packages", "absent", "none installed")
    return Finding("onnxruntime packages", "ok", runtimes[0])


def _bundle(chosen: Path | None, *, verify: bool) -> Iterator[Finding]:
    path = chosen or demo_bundle()
    if chosen is None and not path.is_dir():
        detail = "no default bundle: create the demo bundle with mms-export --model demo"
        yield Finding("bundle", "absent", detail)
        return
    try:
        bundle = open_bundle(path)
    except BundleError as error:
        yield Finding("bundle", "broken", one_line(error))
        return
    size = sum(file.size for file in bundle.manifest.files())
    if verify:
        with byte_bar(path.name, size) as bar:
            problems = bundle.problems(progress=bar.update)
        checked = "SHA-256 checked"
    else:
        problems = bundle.problems(verify=False)
        checked = f"sizes checked; --verify also checks the SHA-256 of {size / 1e9:.2f} GB"
    if problems:
        yield Finding("bundle", "broken", "; ".join(problems))
        return
    languages = f"{len(bundle.languages)} languages, {', '.join(bundle.precisions)}"
    detail = f"{path}: {bundle.manifest.source.name}, {languages}; {checked}"
    yield Finding("bundle", "ok", detail)
    yield from _plans(bundle.manifest)


def _packed() -> Finding:
    try:
        packed.limit()
    except BackendError as error:
        return Finding("packed weights", "broken", one_line(error))
    kept = list(packed.entries().values())
    room = f"{packed.limit() / 1e9:g} GB allowed ({packed.LIMIT_VARIABLE})"
    if not kept:
        return Finding("packed weights", "absent", f"none kept; {room}")
    names = ", ".join(f"{one.bundle} {one.graph} {one.precision}" for one in kept)
    size = sum(entry.size for entry in kept) / 1e9
    detail = (
        f"{size:.1f} GB of {room}, in {packed.packed_folder()}: {names}; --clear-cache removes them"
    )
    return Finding("packed weights", "ok", detail)


def _plans(manifest: Manifest) -> Iterator[Finding]:
    """Check for each plan whether it runs here."""
    driver = cuda_driver()
    for plan in manifest.plans:
        availability = BACKENDS[plan.runtime].probe()
        if not availability.usable:
            yield Finding("plan", "absent", f"{plan.file.path}: {availability.reason}")
            continue
        version = installed_version(MODULES[plan.runtime])
        machine = Target(plan.runtime, version, driver.capabilities[0])
        refused = refusal(manifest, plan, machine)
        detail = refused or f"{plan.file.path}: for {', '.join(plan.compute_capabilities)}"
        yield Finding("plan", "absent" if refused else "ok", detail)
