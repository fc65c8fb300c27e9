"""`mms doctor`: findings and exit status."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cudasim.fatbin import fatbin as make_fatbin
from mms_engine.cli import main
from mms_engine.cli.doctor import checks
from mms_engine.cuda.driver import CudaDriver


def doctor(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(main, ["doctor", "--json", *arguments])
    return result.exit_code, {f["check"]: f for f in json.loads(result.stdout)}


def test_complete_installation_exits_0(tiny_bundle: Path) -> None:
    code, findings = doctor("--bundle", str(tiny_bundle))
    assert code == 0
    assert findings["ort-cpu"]["state"] == "ok"
    assert "3 languages, fp32, fp16; sizes checked; --verify" in findings["bundle"]["detail"]
    assert {"python", "numpy", "cpu", "gpu", "ort-cuda"} <= set(findings)
    code, findings = doctor("--bundle", str(tiny_bundle), "--verify")
    assert code == 0
    assert findings["bundle"]["detail"].endswith("; SHA-256 checked")
    text = CliRunner().invoke(main, ["doctor", "--bundle", str(tiny_bundle)]).stdout
    assert all(line.split()[0] in {"ok", "absent"} for line in text.splitlines())


def test_missing_default_bundle_is_absent_with_the_command_that_creates_it() -> None:
    code, findings = doctor()
    assert code == 0
    assert findings["bundle"]["state"] == "absent"
    assert "mms-export --model demo" in findings["bundle"]["detail"]


def test_invalid_bundle_is_broken(tmp_path: Path) -> None:
    code, findings = doctor("--bundle", str(tmp_path))
    assert code == 1
    assert findings["bundle"]["state"] == "broken"


@pytest.mark.parametrize("same_size", [True, False])
def test_changed_file_is_found_by_its_size_or_by_verify(
    tiny_bundle: Path, tmp_path: Path, *, same_size: bool
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    path = next(bundle.rglob("*.safetensors"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if same_size else content[:-1])
    states = [
        doctor("--bundle", str(bundle), *options)[1]["bundle"]["state"]
        for options in ([], ["--verify"])
    ]
    assert states == ["ok" if same_size else "broken", "broken"]


def test_two_onnxruntime_packages_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "onnxruntime_gpu-1.30.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, findings = doctor()
    assert code == 1
    detail = findings["onnxruntime packages"]["detail"]
    assert detail.startswith("onnxruntime and onnxruntime-gpu overwrite each other's files")


def test_cuda_kernels_are_absent_or_broken(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatbin = tmp_path / "kernels.fatbin"
    fatbin.write_bytes(b"something else")
    expected = {None: "absent", fatbin: "broken"}
    for path, state in expected.items():
        monkeypatch.setattr(checks, "fatbin_path", lambda path=path: path)
        found = {finding.check: finding for finding in checks.diagnose(tiny_bundle)}
        assert found["cuda kernels"].state == state
        assert ("nvcc" if path is None else "not a fatbin") in found["cuda kernels"].detail


def test_kernels_of_a_later_cuda_than_the_drivers_are_named(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding would move to the CPU without a word."""
    fatbin = tmp_path / "kernels.fatbin"
    fatbin.write_bytes(make_fatbin(86, 90))
    fatbin.with_name("kernels.fatbin.nvcc").write_text("13.0\n")
    monkeypatch.setattr(checks, "fatbin_path", lambda: fatbin)
    for driver, state, text in (
        ("12.4", "absent", "compiled by nvcc 13.0, and the driver supports CUDA 12.4: install a"),
        ("13.1", "ok", "for sm 86, 90"),
        ("", "ok", "for sm 86, 90"),
    ):
        found = CudaDriver(driver, (), "no GPU")
        monkeypatch.setattr(checks, "cuda_driver", lambda found=found: found)
        findings = {finding.check: finding for finding in checks.diagnose(tiny_bundle)}
        assert findings["cuda kernels"].state == state
        assert findings["cuda kernels"].detail.startswith(text)
