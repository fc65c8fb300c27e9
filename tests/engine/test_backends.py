"""Backends: choice with reasons, lazy imports, and loading that fails."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mms_engine
from mms_engine import Recognizer, RecognizerOptions
from mms_engine.backends import probes
from mms_engine.backends.probes import Availability
from mms_engine.backends.registry import BACKENDS, Choice, available, open_session, rank
from mms_engine.backends.session import GraphFile
from mms_engine.bundle import open_bundle
from mms_engine.cuda.driver import CudaDriver
from mms_engine.errors import BackendError
from mms_engine.types import BACKEND_NAMES, DEVICES

YES = Availability(usable=True, reason="onnxruntime 1.31")
ONE_SLOT = RecognizerOptions(device="cpu", adapter_cache_bytes=1)
NO = Availability(usable=False, reason="no NVIDIA driver is installed")


def test_auto_chooses_the_first_usable_backend_and_explains_the_others() -> None:
    choice = rank("auto", {"ort-cuda": NO, "ort-cpu": YES})[0]
    assert (choice.backend, choice.device) == ("ort-cpu", "cpu")
    assert "not ort-cuda: no NVIDIA driver is installed" in choice.reason


def test_auto_prefers_the_gpu() -> None:
    assert rank("auto", {"ort-cuda": YES, "ort-cpu": YES})[0].device == "cuda"


def test_requested_device_is_chosen() -> None:
    assert rank("cpu", {"ort-cuda": YES, "ort-cpu": YES})[0].backend == "ort-cpu"


def test_unusable_device_is_an_error_with_the_reason() -> None:
    with pytest.raises(BackendError, match="nothing here can run on 'cuda': not ort-cuda: no NV"):
        rank("cuda", {"ort-cuda": NO, "ort-cpu": YES})


def test_backends_with_the_same_reason_are_named_together() -> None:
    with pytest.raises(BackendError, match="not tensorrt, ort-cuda: no NVIDIA driver is") as raised:
        rank("cuda", {"tensorrt": NO, "ort-cuda": NO, "ort-cpu": YES})
    assert "\n" not in str(raised.value)


def test_auto_ranks_every_usable_backend() -> None:
    choices = rank("auto", {"tensorrt": YES, "ort-cuda": NO, "ort-cpu": YES})
    assert [choice.backend for choice in choices] == ["tensorrt", "ort-cpu"]
    assert "not ort-cuda" in choices[1].reason


def test_backend_by_name_has_no_fallback() -> None:
    found = {"tensorrt": YES, "ort-cuda": YES, "ort-cpu": YES}
    assert [choice.backend for choice in rank("auto", found, "ort-cuda")] == ["ort-cuda"]
    with pytest.raises(BackendError, match="nothing here can run on 'tensorrt': not tensorrt: no"):
        rank("auto", found | {"tensorrt": NO}, "tensorrt")
    with pytest.raises(BackendError, match="tensorrt runs on cuda, not on cpu"):
        rank("cpu", found, "tensorrt")


GPU = CudaDriver("12.4", ("NVIDIA L4",), "", ("8.9",))


@pytest.mark.parametrize(
    ("modules", "versions", "reason"),
    [
        (set(), {}, "tensorrt is not installed: pip install 'mms-engine[gpu]'"),
        ({"tensorrt"}, {"tensorrt": "11.4"}, "pycuda is not installed: pip install 'mms-engine"),
        (
            {"tensorrt", "pycuda"},
            {"tensorrt": "11.4", "tensorrt_cu13": "11.4"},
            (
                "tensorrt 11.4 is built for CUDA 13 and the driver supports 12.4: install a newer "
                "driver, or tensorrt_cu12"
            ),
        ),
        (
            {"tensorrt", "pycuda"},
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


def test_backend_names_are_those_of_the_options() -> None:
    assert sorted(BACKENDS) == sorted(BACKEND_NAMES)
    assert {backend.device for backend in BACKENDS.values()} == {*DEVICES} - {"auto"}


def test_optional_packages_are_imported_in_their_rooms_only() -> None:
    """pycuda and TensorRT are imported by importlib, which the import contracts cannot see."""
    engine = Path(mms_engine.__file__).parent
    named = re.compile(
        r"""(^\s*(import|from) |(import_module|find_spec)\(["'])(pycuda|tensorrt|onnxruntime)""",
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
    # The package's public names, writers of formats, and TensorRT's modules.
    assert by_variable == {"__init__.py", "formats/registry.py", "tensorrt/toolkit.py"}


class Opened:
    """Sessions that fake opening makes; one graph cannot be opened."""

    def __init__(self, broken: str = "") -> None:
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


@pytest.mark.parametrize("broken", ["frontend", "encoder"])
def test_a_failed_open_closes_the_sessions(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    opened = Opened(broken)
    monkeypatch.setattr("mms_engine.encoder.host.graphs.open_session", opened)
    with pytest.raises(BackendError, match="no memory"):
        Recognizer.open(tiny_bundle, device="cpu")
    assert not opened.open


def test_a_failed_open_of_the_decoders_closes_the_model(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert sorted(opened.open) == ["encoder", "frontend"]
        raise BackendError("no kernels")

    opened = Opened()
    monkeypatch.setattr("mms_engine.encoder.host.graphs.open_session", opened)
    monkeypatch.setattr("mms_engine.asr.recognizer.open_decoders", fail)
    with pytest.raises(BackendError, match="no kernels"):
        Recognizer.open(tiny_bundle, device="cpu")
    assert not opened.open


def test_a_vocabulary_takes_no_slot(tiny_bundle: Path) -> None:
    languages = ["eng", "swh", "uzb-script_latin"]
    with Recognizer.open(tiny_bundle, options=ONE_SLOT) as recognizer:
        model = recognizer._model
        assert model.bank.slots == 1
        assert all(len(model.vocabulary(language)) > 1 for language in languages)
        assert model.bank.keys == ()
        load, loaded = model.bank._load, []
        model.bank._load = lambda language: (loaded.append(language), load(language))[1]
        recognizer.transcribe([np.zeros(8_000, np.float32)] * 3, languages)
        assert sorted(loaded) == languages, "each is read once, by its batch"


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


def test_choosing_imports_neither_pycuda_nor_tensorrt() -> None:
    code = (
        "import sys\n"
        "from mms_engine import Recognizer\n"
        "from mms_engine.backends.registry import available, rank\n"
        "rank('auto', available())\n"
        "print([n for n in sys.modules if n.split('.')[0] in "
        "('pycuda', 'tensorrt', 'tensorrt_rtx')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_every_backend_has_a_reason() -> None:
    found = available()
    assert list(found) == ["tensorrt", "tensorrt-rtx", "ort-cuda", "ort-cpu"]
    assert found["ort-cpu"].usable
    assert all(availability.reason for availability in found.values())


def test_without_onnxruntime_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from mms_engine.backends.registry import available, rank\n"
        "rank('auto', available())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "BackendError" in result.stderr
    assert "pip install 'mms-engine[cpu]'" in result.stderr.splitlines()[-1]
