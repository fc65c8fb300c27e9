"""`mms doctor` says what works, and what is broken."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mms_engine.cli import diagnosis, main


def doctor(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(main, ["doctor", "--json", *arguments])
    return result.exit_code, {f["check"]: f for f in json.loads(result.stdout)}


def test_a_sound_installation_is_0(tiny_bundle: Path) -> None:
    code, findings = doctor("--bundle", str(tiny_bundle))
    assert code == 0
    assert findings["ort-cpu"]["state"] == "ok"
    assert findings["bundle"]["detail"].endswith("3 languages, fp32, fp16")
    assert {"python", "numpy", "cpu", "gpu", "ort-cuda"} <= set(findings)


def test_no_default_bundle_is_not_broken_and_says_how_to_make_one() -> None:
    code, findings = doctor()
    assert code == 0
    assert findings["bundle"]["state"] == "absent"
    assert "mms-export --model demo" in findings["bundle"]["detail"]


def test_a_bundle_that_is_none_is_broken(tmp_path: Path) -> None:
    code, findings = doctor("--bundle", str(tmp_path))
    assert code == 1
    assert findings["bundle"]["state"] == "broken"


def test_two_packages_of_onnxruntime_are_broken(
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


def test_lines_for_people(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--bundle", str(tiny_bundle)])
    assert all(line.split()[0] in {"ok", "absent"} for line in result.stdout.splitlines())


def test_cuda_kernels_are_there_or_not_and_broken_where_the_file_is(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatbin = tmp_path / "kernels.fatbin"
    fatbin.write_bytes(b"something else")
    expected = {None: "absent", fatbin: "broken"}
    for path, state in expected.items():
        monkeypatch.setattr(diagnosis, "fatbin_path", lambda path=path: path)
        found = {finding.check: finding for finding in diagnosis.diagnose(tiny_bundle)}
        assert found["cuda kernels"].state == state
        assert ("nvcc" if path is None else "not a fatbin") in found["cuda kernels"].detail
