"""Registry of backends: availability on this machine, and the choice for a run."""

import contextlib
import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mms_engine.backends import probes
from mms_engine.backends.packed import PackedGraph
from mms_engine.backends.probes import Availability
from mms_engine.backends.session import Array, GraphFile, Session
from mms_engine.bundle.manifest import Graph, Runtime
from mms_engine.bundle.reader import Bundle
from mms_engine.errors import BackendError, BundleError
from mms_engine.types import BackendName, Device, Precision

logger = logging.getLogger(__name__)

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, slots=True)
class Choice:
    """Backend chosen for a run, and why."""

    backend: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Backend:
    """Probe and opener of a backend; only probes and openers import its library."""

    device: str
    probe: Callable[[], Availability]
    opener: str = ""
    """Function of `mms_engine.backends.ort` that loads a graph."""
    runtime: Runtime | None = None
    """Runtime of plans; `None` for a backend that runs graphs."""


def available() -> dict[str, Availability]:
    """Return the availability of every backend."""
    return {name: backend.probe() for name, backend in BACKENDS.items()}


def rank(
    device: Device, candidates: Mapping[str, Availability], backend: BackendName | None = None
) -> list[Choice]:
    """Return the usable backends for `device`, best first.

    Args:
        device: `auto` for any, in the order of the registry: GPUs first.
        candidates: Result of `available`.
        backend: Restriction to one backend.

    Raises:
        BackendError: none is usable; the message gives the reason for each.
    """
    if backend is not None and device not in ("auto", BACKENDS[backend].device):
        raise BackendError(f"{backend} runs on {BACKENDS[backend].device}, not on {device}")
    names = [
        name
        for name in candidates
        if device in ("auto", BACKENDS[name].device) and backend in (None, name)
    ]
    because = "first that works" if (device, backend) == ("auto", None) else "requested"
    choices = []
    refused: dict[str, list[str]] = {}
    for name in names:
        if candidates[name].usable:
            reason = "; ".join([f"{name}: {because}", *_reasons(refused)])
            choices.append(Choice(name, BACKENDS[name].device, reason))
        refused.setdefault(candidates[name].reason, []).append(name)
    if not choices:
        wanted = backend or device
        raise BackendError(f"nothing here can run on {wanted!r}: {'; '.join(_reasons(refused))}")
    return choices


def open_session(choice: Choice, file: GraphFile, threads: int) -> Session:
    """Load a graph with the chosen backend.

    Args:
        choice: Backend.
        file: The graph.
        threads: Threads of one run on a CPU; 0 for every core this process may use.

    Raises:
        BackendError: the backend rejects the graph, or it runs plans.
    """
    backend = BACKENDS[choice.backend]
    if backend.runtime is not None:
        raise BackendError(f"{choice.backend} runs plans, not graphs such as {file.path}")
    module = importlib.import_module("mms_engine.backends.ort")
    session: Session = getattr(module, backend.opener)(file, threads)
    return session


def open_graph(
    choice: Choice,
    bundle: Bundle,
    name: str,
    precision: Precision,
    threads: int,
    edit: Callable[[GraphFile], GraphFile] | None = None,
    model: str = "",
) -> Session:
    """Load a graph of a bundle while its weights are hashed, if they have to be.

    Args:
        choice: Backend.
        bundle: Bundle of the graph.
        name: Name of the graph.
        precision: Precision of the graph.
        threads: As for `open_session`.
        edit: Returns the graph to load in place of the file's.
        model: Key of `Manifest.models`; empty for `Manifest.model`.

    Raises:
        BundleError: the graph is not in the bundle, or is damaged.
        BackendError: as for `open_session`.
    """

    def load(found: tuple[Graph, Path]) -> Session:
        file = GraphFile(*found)
        # `verify` asks for the bundle's own weights: a copy's digests are not in its manifest.
        if edit is None and choice.backend == "ort-cpu" and bundle.verify is not True:
            return _open_packed(choice, bundle, file, threads)
        return open_session(choice, edit(file) if edit else file, threads)

    return _open_whole(bundle.loading(name, precision, model), load)


def _open_packed(choice: Choice, bundle: Bundle, file: GraphFile, threads: int) -> Session:
    """Load the packed copy of a graph; or the graph, whose first run has the copy written."""
    packed = PackedGraph.of(file)
    if packed is None:
        return open_session(choice, file, threads)
    if packed.entry is not None:
        try:
            return _open_whole(
                packed.loading(bundle.verify), lambda copy: open_session(choice, copy, threads)
            )
        except (BundleError, BackendError) as error:
            logger.warning("the packed weights of %s were removed: %s", file.path, error)
            packed.remove()
    to_pack = replace(file, after_run=lambda: packed.write_behind(bundle.path))
    return open_session(choice, to_pack, threads)


def _open_whole(
    loading: contextlib.AbstractContextManager[_Loaded], load: Callable[[_Loaded], Session]
) -> Session:
    """Return the session of what is loading, once that has ended without an error."""
    with contextlib.ExitStack() as opened:
        with loading as loaded:
            session = load(loaded)
            opened.callback(session.close)
        opened.pop_all()
    return session


def open_file(path: Path) -> Callable[[Mapping[str, Array]], list[Array]]:
    """Load a small ONNX file outside a bundle for one CPU thread; return its run function.

    Raises:
        BackendError: ONNX Runtime is not installed, or rejects the file.
    """
    probed = probes.ort_cpu()
    if not probed.usable:
        raise BackendError(probed.reason)
    module = importlib.import_module("mms_engine.backends.ort")
    run: Callable[[Mapping[str, Array]], list[Array]] = module.open_file(path)
    return run


def _reasons(refused: Mapping[str, list[str]]) -> list[str]:
    return [f"not {', '.join(names)}: {reason}" for reason, names in refused.items()]


BACKENDS: Mapping[str, Backend] = {
    "tensorrt": Backend("cuda", probes.tensorrt, runtime="tensorrt"),
    "tensorrt-rtx": Backend("cuda", probes.tensorrt_rtx, runtime="tensorrt-rtx"),
    "ort-cuda": Backend("cuda", probes.ort_cuda, opener="open_cuda"),
    "ort-cpu": Backend("cpu", probes.ort_cpu, opener="open_cpu"),
}
"""Backends by name, in the order in which `auto` tries them."""
