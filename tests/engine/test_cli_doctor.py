"""`mms doctor`: findings and exit status."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mms_engine.cli import main
from mms_engine.cli.doctor import checks


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
