"""Backends: choice with reasons, lazy imports, and loading that fails."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mms_engine
from mms_engine import Recognizer
from mms_engine.backends import probes
from mms_engine.backends.probes import Availability
from mms_engine.backends.registry import BACKENDS, Choice, available, open_session, rank
from mms_engine.backends.session import GraphFile
from mms_engine.bundle import open_bundle
from mms_engine.cli.doctor import checks
from mms_engine.cuda import packages
from mms_engine.cuda.context import open_device
from mms_engine.cuda.driver import CudaDriver
from mms_engine.errors import BackendError
from mms_engine.types import BACKEND_NAMES, DEVICES

YES = Availability(usable=True, reason="onnxruntime 1.31")
NO = Availability(usable=False, reason="no NVIDIA driver is installed")


ALL = {"tensorrt": YES, "ort-cuda": YES, "ort-cpu": YES}


@pytest.mark.parametrize(
    ("device", "name", "missing", "ranked"),
    [
        ("auto", None, (), ["tensorrt", "ort-cuda", "ort-cpu"]),
        ("auto", None, ("ort-cuda",), ["tensorrt", "ort-cpu"]),
        ("auto", None, ("tensorrt", "ort-cuda"), ["ort-cpu"]),
        ("cpu", None, (), ["ort-cpu"]),
        ("auto", "ort-cuda", (), ["ort-cuda"]),
    ],
)
def test_usable_backends_are_ranked_with_the_reasons_against_others(
    device: str, name: str | None, missing: tuple[str, ...], ranked: list[str]
) -> None:
    choices = rank(device, ALL | dict.fromkeys(missing, NO), name)
    assert [choice.backend for choice in choices] == ranked
    assert [choice.device for choice in choices] == [BACKENDS[one].device for one in ranked]
    if missing:
        assert f"not {', '.join(missing)}: no NVIDIA driver is installed" in choices[-1].reason


@pytest.mark.parametrize(
    ("device", "name", "missing", "reason"),
    [
        ("cuda", None, ("tensorrt", "ort-cuda"), "on 'cuda': not tensorrt, ort-cuda: no NVIDIA d"),
        ("auto", "tensorrt", ("tensorrt",), "on 'tensorrt': not tensorrt: no NVIDIA driver is"),
        ("cpu", "tensorrt", (), "tensorrt runs on cuda, not on cpu"),
    ],
)
def test_device_or_backend_by_name_has_no_fallback(
    device: str, name: str | None, missing: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(BackendError, match=reason) as raised:
        rank(device, ALL | dict.fromkeys(missing, NO), name)
    assert "\n" not in str(raised.value)


GPU = CudaDriver("12.4", ("NVIDIA L4",), "", ("8.9",))


@pytest.mark.parametrize(
    ("modules", "versions", "reason"),
    [
        (set(), {}, "tensorrt is not installed: pip install 'mms-engine[gpu]'"),
        ({"tensorrt"}, {"tensorrt": "11.4"}, "neither cuda-bindings nor pycuda is installed: pip "),
        (
            {"tensorrt", "pycuda"},
            {"tensorrt": "11.4", "tensorrt_cu13": "11.4"},
            (
                "tensorrt 11.4 is built for CUDA 13 and the driver supports 12.4: install a newer "
                "driver, or tensorrt_cu12"
            ),
        ),
        (
            {"tensorrt", "cuda.bindings"},
            {"tensorrt": "11.4", "tensorrt_cu12": "11.4"},
            "tensorrt 11.4 on NVIDIA L4",
        ),
    ],
)
def test_missing_parts_of_tensorrt_are_named(
    monkeypatch: pytest.MonkeyPatch, modules: set[str], versions: dict[str, str], reason: str
) -> None:
    monkeypatch.setattr(probes, "cuda_driver", lambda: GPU)
    monkeypatch.setattr(probes.importlib.util, "find_spec", lambda name: name in modules or None)
    monkeypatch.setattr(probes, "installed_version", lambda package: versions.get(package, ""))
    found = probes.tensorrt()
    assert found.reason.startswith(reason)
    assert found.usable == (" on NVIDIA L4" in reason)


def test_plan_backend_rejects_a_graph(tiny_bundle: Path) -> None:
    graph = GraphFile(*open_bundle(tiny_bundle).graph("frontend", "fp32"))
    with pytest.raises(BackendError, match="tensorrt runs plans, not graphs such as"):
        open_session(Choice("tensorrt", "cuda", ""), graph, 0)


def test_every_backend_is_an_option_and_has_a_reason() -> None:
    assert sorted(BACKENDS) == sorted(BACKEND_NAMES)
    assert {backend.device for backend in BACKENDS.values()} == {*DEVICES} - {"auto"}
    found = available()
    assert list(found) == ["tensorrt", "tensorrt-rtx", "ort-cuda", "ort-cpu"]
    assert found["ort-cpu"].usable
    assert all(availability.reason for availability in found.values())


def test_optional_packages_are_imported_in_their_rooms_only() -> None:
    """Some are imported by importlib, which the import contracts cannot see."""
    engine = Path(mms_engine.__file__).parent
    named = re.compile(
        r"""(^\s*(import|from) |(import_module|find_spec)\(["'])"""
        r"(pycuda|cuda\.|tensorrt|onnxruntime)",
        re.MULTILINE,
    )
    importing, by_variable = set(), set()
    for path in engine.rglob("*.py"):
        source, place = path.read_text(encoding="utf-8"), path.relative_to(engine)
        if named.search(source):
            importing.add(place.parts[0])
        if re.search(r"""import_module\((?!["'])""", source):
            by_variable.add(place.as_posix())
    assert importing == {"cuda", "backends"}
    # The package's public names, packages that call the driver, writers of formats, TensorRT's
    # modules, and number words.
    assert by_variable == {
        "__init__.py",
        "cuda/packages.py",
        "formats/registry.py",
        "tensorrt/toolkit.py",
        "text/numbers.py",
    }


class Opened:
    """Opener of sessions that records the open ones; one graph cannot be opened."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.open: list[str] = []

    def __call__(self, choice: Choice, file: GraphFile, threads: int) -> object:
        if file.graph.name == self.broken:
            raise BackendError("no memory")
        real = open_session(choice, file, threads)
        self.open.append(file.graph.name)
        close = real.close
        real.close = lambda: (close(), self.open.remove(file.graph.name))
        return real


@pytest.mark.parametrize("broken", ["frontend", "encoder", "decoders"])
def test_failed_open_closes_the_sessions(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        assert sorted(opened.open) == ["encoder", "frontend"]
        raise BackendError("no memory")

    opened = Opened(broken)
    monkeypatch.setattr("mms_engine.backends.registry.open_session", opened)
    monkeypatch.setattr("mms_engine.asr.recognizer.open_decoders", fail)
    with pytest.raises(BackendError, match="no memory"):
        Recognizer.open(tiny_bundle, device="cpu")
    assert not opened.open


def test_choosing_imports_neither_the_driver_nor_tensorrt() -> None:
    code = (
        "import sys\n"
        "from mms_engine import Recognizer\n"
        "from mms_engine.backends.registry import available, rank\n"
        "rank('auto', available())\n"
        "assert not {'pycuda', 'tensorrt', 'tensorrt_rtx'} & {n.split('.')[0] for n in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("installed", "wanted", "found"),
    [
        ({"cuda.bindings", "pycuda"}, "", "cuda-bindings"),
        ({"pycuda"}, "", "pycuda"),
        ({"cuda.bindings", "pycuda"}, "pycuda", "pycuda"),
        ({"cuda.bindings"}, "pycuda", "MMS_CUDA_DRIVER is pycuda, which is not installed: pip"),
        ({"cuda.bindings"}, "cupy", "MMS_CUDA_DRIVER is cupy: set it to cuda-bindings or pycuda"),
        (set(), "", "neither cuda-bindings nor pycuda is installed: pip install"),
    ],
)
def test_driver_is_called_by_the_package_that_is_chosen_or_there(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], wanted: str, found: str
) -> None:
    monkeypatch.setenv("MMS_CUDA_DRIVER", wanted)
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: name in installed or None
    )
    if found in packages.PACKAGES:
        assert packages.chosen_package() == found
        return
    with pytest.raises(BackendError, match=found):
        packages.chosen_package()
    finding = {each.check: each for each in checks.diagnose(None)}["driver package"]
    assert finding.state == ("broken" if wanted else "absent")
    assert finding.detail.startswith(found)


def test_opening_a_gpu_without_a_driver_is_an_error() -> None:
    if probes.cuda_driver().devices:
        pytest.skip("there is a GPU")
    # What is missing decides the text: the driver, the package that calls it, or the device.
    reason = probes.cuda_driver().reason
    with pytest.raises(BackendError) as caught:
        open_device()
    assert str(caught.value) == reason or re.fullmatch(
        "GPU 0 cannot be used: .*; run mms doctor", str(caught.value)
    )
    assert "driver" in str(caught.value) or "GPU 0" in str(caught.value)


def test_probing_for_a_gpu_is_quick() -> None:
    """Done-when: `--device auto` without a GPU costs at most 50 ms more than `--device cpu`."""
    if probes.cuda_driver().devices:
        pytest.skip("this machine has a CUDA device")
    available()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        available()
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 0.05
