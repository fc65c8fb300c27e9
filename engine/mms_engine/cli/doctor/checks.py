"""The checks of `mms doctor`."""

import importlib.metadata
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mms_engine.backends.probes import MODULES, installed_version
from mms_engine.backends.registry import BACKENDS, available
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Manifest
from mms_engine.cli.program import one_line
from mms_engine.cuda.driver import cuda_driver
from mms_engine.errors import BundleError
from mms_engine.system import default_bundle, usable_cores
from mms_engine.tensorrt.choose import Target, refusal
from mms_kernels.cuda import architectures, fatbin_path

State = Literal["ok", "absent", "broken"]
_PACKAGES = ("mms-engine", "numpy", "av", "soundfile", "soxr", "safetensors")
_RUNTIMES = re.compile(r"onnxruntime(-(gpu|directml|openvino|rocm|qnn|silicon))?")
_CPU_FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    state: State
    """`absent` for what may be missing; `broken` makes the command exit with 1."""
    detail: str


def diagnose(bundle: Path | None) -> list[Finding]:
    """Run every check; `bundle` is looked at in place of the default one."""
    return [
        *_packages(),
        _cpu(),
        _gpu(),
        _cuda_kernels(),
        _pycuda(),
        *_backends(),
        _clash(),
        *_bundle(bundle),
    ]


def report(findings: list[Finding], *, as_json: bool) -> str:
    """Return findings as lines, or as JSON."""
    if as_json:
        return msgspec.json.format(msgspec.json.encode(findings)).decode() + "\n"
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
    cores = usable_cores()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Finding("cpu", "ok", f"{cores} cores, {platform.machine()}")
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    features = [name for name in _CPU_FEATURES if name in known]
    name = model[1] if model else platform.machine()
    return Finding("cpu", "ok", f"{cores} cores, {name}, {' '.join(features)}")


def _gpu() -> Finding:
    driver = cuda_driver()
    if not driver.devices:
        return Finding("gpu", "absent", driver.reason)
    return Finding("gpu", "ok", f"{', '.join(driver.devices)}, driver for CUDA {driver.version}")


def _cuda_kernels() -> Finding:
    path = fatbin_path()
    if path is None:
        detail = (
            "not in this install, it was built without nvcc: reinstall from source where nvcc is "
            "found, or with CUDAToolkit_ROOT set"
        )
        return Finding("cuda kernels", "absent", detail)
    try:
        compiled = architectures(path.read_bytes())
    except (OSError, ValueError) as error:
        return Finding("cuda kernels", "broken", f"{path}: {one_line(error)}")
    return Finding("cuda kernels", "ok", f"for sm {', '.join(map(str, compiled))}")


def _pycuda() -> Finding:
    version = installed_version("pycuda")
    if not version:
        detail = "not installed, TensorRT needs it: pip install 'mms-engine[gpu]' or '[rtx]'"
        return Finding("pycuda", "absent", detail)
    return Finding("pycuda", "ok", version)


def _backends() -> Iterator[Finding]:
    found = available()
    for name, availability in found.items():
        yield Finding(name, "ok" if availability.usable else "absent", availability.reason)
    if not any(availability.usable for availability in found.values()):
        yield Finding("backends", "broken", "none can run a graph: pip install 'mms-engine[cpu]'")


def _clash() -> Finding:
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    runtimes = sorted(name for name in names if _RUNTIMES.fullmatch(name))
    if len(runtimes) > 1:
        detail = (
            f"{' and '.join(runtimes)} overwrite each other's files: uninstall all of them, then "
            "install one, by pip install 'mms-engine[cpu]' or 'mms-engine[gpu]'"
        )
        return Finding("onnxruntime packages", "broken", detail)
    return Finding("onnxruntime packages", "ok" if runtimes else "absent", "".join(runtimes))


def _bundle(chosen: Path | None) -> Iterator[Finding]:
    path = chosen or default_bundle()
    if chosen is None and not path.is_dir():
        detail = "no default bundle: make the demo's with mms-export --model demo"
        yield Finding("bundle", "absent", detail)
        return
    try:
        bundle = open_bundle(path)
    except BundleError as error:
        yield Finding("bundle", "broken", one_line(error))
        return
    problems = bundle.problems()
    if problems:
        yield Finding("bundle", "broken", "; ".join(problems))
        return
    languages = f"{len(bundle.languages)} languages, {', '.join(bundle.precisions)}"
    yield Finding("bundle", "ok", f"{path}: {bundle.manifest.source.name}, {languages}")
    yield from _plans(bundle.manifest)


def _plans(manifest: Manifest) -> Iterator[Finding]:
    """Say of each plan whether it runs here."""
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
    with_streams = {plan.runtime for plan in manifest.plans if plan.graph == "step"}
    for runtime in sorted({plan.runtime for plan in manifest.plans} - with_streams):
        detail = f"no plan of {runtime} for streams: mms-export --engine {runtime} --streams"
        yield Finding("plan", "absent", detail)
