"""Which backends there are, which of them work here, and which one a run takes."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mms_engine.backends.base import GraphFile, Session, SessionOptions
from mms_engine.backends.cuda import cuda_driver
from mms_engine.errors import BackendError
from mms_engine.options import Device

INSTALL_HINT = "pip install 'mms-engine[cpu]' (or 'mms-engine[gpu]' for NVIDIA GPUs)"


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a backend can run here."""

    usable: bool
    reason: str
    """What it runs with, or why it cannot: one sentence."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend a run takes."""

    backend: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Backend:
    """How one backend is asked and opened; both functions import its library themselves."""

    device: str
    probe: Callable[[], Availability]
    open: Callable[[GraphFile, SessionOptions], Session]


def available() -> dict[str, Availability]:
    """Return for every backend whether it can run here, and with what or why not."""
    return {name: backend.probe() for name, backend in BACKENDS.items()}


def choose(device: Device, candidates: Mapping[str, Availability]) -> Choice:
    """Pick a backend for `device`. Depends on its arguments only.

    Args:
        device: `auto` takes the first usable backend in the registry's order, GPUs first.
        candidates: What `available` returned.

    Raises:
        BackendError: none is usable; the message says why for each.
    """
    asked = [name for name in candidates if device in ("auto", BACKENDS[name].device)]
    refused: list[str] = []
    for name in asked:
        if candidates[name].usable:
            because = f"{device} was asked for" if device != "auto" else "first that works"
            reason = "; ".join([f"{name}: {because}", *refused])
            return Choice(name, BACKENDS[name].device, reason)
        refused.append(f"not {name}: {candidates[name].reason}")
    raise BackendError(f"nothing here can run on {device!r}: {'; '.join(refused)}")


def open_session(choice: Choice, file: GraphFile, options: SessionOptions) -> Session:
    """Load a graph with the chosen backend.

    Raises:
        BackendError: the backend's library refuses the graph.
    """
    return BACKENDS[choice.backend].open(file, options)


def _open_ort_cpu(file: GraphFile, options: SessionOptions) -> Session:
    ort = importlib.import_module("mms_engine.backends.ort")
    session: Session = ort.open_cpu(file, options)
    return session


def _open_ort_cuda(file: GraphFile, options: SessionOptions) -> Session:
    ort = importlib.import_module("mms_engine.backends.ort")
    session: Session = ort.open_cuda(file, options)
    return session


def _providers() -> tuple[str, list[str]] | None:
    """Return ONNX Runtime's version and providers, or `None` where it is not installed."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        return onnxruntime.__version__, onnxruntime.get_available_providers()
    except (ImportError, AttributeError):
        # AttributeError: an uninstalled onnxruntime leaves an empty folder of that name behind.
        return None


def _probe_ort_cpu() -> Availability:
    found = _providers()
    if found is None:
        return Availability(usable=False, reason=f"onnxruntime is not installed: {INSTALL_HINT}")
    return Availability(usable=True, reason=f"onnxruntime {found[0]}")


def _probe_ort_cuda() -> Availability:
    found = _providers()
    if found is None:
        return Availability(usable=False, reason=f"onnxruntime is not installed: {INSTALL_HINT}")
    version, providers = found
    if "CUDAExecutionProvider" not in providers:
        reason = f"onnxruntime {version} has no CUDA: replace it by pip install 'mms-engine[gpu]'"
        return Availability(usable=False, reason=reason)
    driver = cuda_driver()
    if not driver.devices:
        return Availability(usable=False, reason=driver.reason)
    return Availability(usable=True, reason=f"onnxruntime {version} on {driver.devices[0]}")


BACKENDS: Mapping[str, Backend] = {
    "ort-cuda": Backend("cuda", _probe_ort_cuda, _open_ort_cuda),
    "ort-cpu": Backend("cpu", _probe_ort_cpu, _open_ort_cpu),
}
"""By name, in the order in which `auto` tries them."""
