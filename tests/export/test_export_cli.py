"""The command mms-export: output and exit codes."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from export_runs import invoke
from mms_engine.bundle import open_bundle
from mms_engine.system import demo_bundle
from tiny_models import LANGUAGES


def test_export_prints_one_line(checkpoint, tmp_path):
    out = tmp_path / "b"
    result = invoke(
        "--model", checkpoint, "--out", out, "--precision", "fp32,int8", "--lang", "swh"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: tiny-mms, 1 language, fp32, int8\n"
    assert result.stderr.splitlines()[0] == "reading the checkpoint"
    assert open_bundle(out).languages == ("swh",)


def test_json(checkpoint, tmp_path):
    out = tmp_path / "b"
    given = ("--model", checkpoint, "--out", out, "--precision", "fp32", "--quiet", "--json")
    result = invoke(*given)
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert document["bundle"] == str(out)
    assert document["languages"] == sorted(LANGUAGES)
    assert document["parity"]["fp32"]["argmax_agreement"] == 1
    assert document["bytes"] == sum(file.size for file in open_bundle(out).manifest.files())


def test_dry_run_prints_sizes_and_writes_nothing(checkpoint, tmp_path, bundle):
    out = tmp_path / "b"
    given = ("--model", checkpoint, "--out", out, "--precision", "fp32,fp16,bf16,int8")
    result = invoke(*given, "--dry-run", "--json")
    assert not out.exists()
    document = json.loads(result.stdout)
    assert sum(document["bytes"].values()) == document["total"]
    whole = sum(file.size for file in open_bundle(bundle).manifest.files())
    assert document["total"] < whole  # a tiny model is mostly headers
    lines = invoke(*given, "--dry-run").stdout.splitlines()
    assert lines[0].split()[0] == "frontend.fp32"
    assert lines[-2].startswith("adapters (3)")
    assert lines[-1].split()[0] == "total"


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (
            "--lang uzb-script_ltin",
            1,
            "'uzb-script_ltin'; did you mean uzb-script_latin?",
        ),
        ("--precision fp8", 2, "'fp8' is not one of fp32, fp16, bf16, int8"),
        ("--model none", 1, "neither a folder, nor a file, nor a hub id"),
    ],
)
def test_invalid_values(checkpoint, tmp_path, given, code, message):
    result = invoke("--model", checkpoint, "--out", tmp_path / "b", *given.split())
    assert result.exit_code == code
    assert message in result.stderr
    assert code == 2 or len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "b").exists()


def test_unreachable_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = invoke("--model", "nobody/no-such-model", "--out", tmp_path / "b")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "nobody/no-such-model is not in the local hub cache and cannot be" in result.stderr


def test_debug_gives_the_traceback(tmp_path):
    result = invoke("--model", tmp_path / "none", "--debug")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "MmsError"


def test_cached_hub_snapshot_is_found_by_its_id(checkpoint, tmp_path, monkeypatch):
    repository = tmp_path / "models--facebook--mms-tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(checkpoint, target_is_directory=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    given = ("--model", "facebook/mms-tiny", "--precision", "fp32", "--dry-run")
    result = invoke(*given)
    assert result.exit_code == 0, result.output
    assert "bundles/mms-tiny" in result.stdout

    snapshot.unlink()
    shutil.copytree(checkpoint, snapshot)
    (snapshot / "adapter.swh.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert invoke(*given, "--lang", "eng,uzb*").exit_code == 0
    result = invoke(*given)
    assert result.exit_code == 1
    assert "adapter.swh.safetensors of facebook/mms-tiny is not in the local hub" in result.stderr


def test_demo_is_written_to_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = invoke("--model", "demo", "--dry-run", "--json")
    assert json.loads(result.stdout)["bundle"] == str(demo_bundle())
    assert demo_bundle().is_relative_to(tmp_path)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_nothing_heavy(option):
    program = (
        "import sys; sys.argv = ['mms-export', sys.argv[1]]; from mms_export.cli import main\n"
        "try: main()\nfinally: assert not {'torch', 'numpy', 'onnx'} & set(sys.modules)"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, option], check=True, capture_output=True)
    assert time.perf_counter() - start < 2
