"""The command on a tiny checkpoint with the real peers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mms_bench.cli import main
from mms_bench.report import markdown
from mms_bench.run.result import load
from tiny_models import TinyOptions, make_tiny

QUICK = ("--seconds", "0.5", "--min-time", "0.02", "--min-samples", "2", "--warmup", "0.01")


def run(program, *words, cache):
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *map(str, words)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A checkpoint, its bundle and a cache folder of their own."""
    folder = tmp_path_factory.mktemp("bench")
    checkpoint = make_tiny(folder / "checkpoint")
    words = ("--model", checkpoint, "--out", folder / "bundle", "--adapter-dtype", "float32")
    run("mms-export", *words, "--precision", "fp32", cache=folder / "cache")
    return folder


@pytest.fixture(scope="module")
def asr(tiny):
    models = ("--checkpoint", tiny / "checkpoint", "--bundle", tiny / "bundle")
    names = ("transformers-int8", "onnx", "onnx-int8", "openvino", "ours-fp32", "ours-fp16")
    words = ("--peers", ",".join(names), "--cases", "clip,batch,switch", "--batch", "3", *QUICK)
    out = ("--json", tiny / "asr.json")
    done = run("mms-bench", "run", "asr", *models, *words, *out, cache=tiny / "cache")
    result = load(tiny / "asr.json")
    assert done.stdout == markdown.render(result) + "\n"
    return result


def test_every_peer_has_a_row_and_agrees_with_the_reference(asr):
    rows = {row.implementation: row for row in asr.rows if row.case == "clip"}
    ours = {"ours-fp32", "ours-fp16"}
    assert (
        set(rows) == {"transformers", "transformers-int8", "onnx", "onnx-int8", "openvino"} | ours
    )
    assert rows["ours-fp16"].status == "skipped"
    assert rows["ours-fp16"].reason == "the bundle has no fp16 graphs, only fp32"
    for name in ("transformers", "onnx", "openvino", "ours-fp32"):
        row = rows[name]
        assert row.status == "ok", row.reason
        assert row.summary.count >= 2
        assert row.load_seconds > 0
        assert row.first_seconds > 0
        assert row.peak_memory > 20e6
        assert 0 < row.figures["share"] < 1
        if row.check:
            assert row.check.argmax_agreement == 1.0
            assert 0 < row.check.max_abs_error < 1e-4
            assert row.check.frames == 24
            assert row.check.max_abs_error_limit == 2e-3
    # Int8 of random weights may or may not pass its check; if it has a time, it passed.
    for name in ("onnx-int8", "transformers-int8"):
        assert (rows[name].summary is not None) == rows[name].check.passed


def test_products_and_reading_of_the_machine_are_measured(asr):
    for name in ("fp32", "int8", "memory"):
        assert asr.find(f"peaks/{name}").summary.median > 0
    fastest = asr.find("peaks/fp32").amount / min(asr.find("peaks/fp32").samples)
    assert 1e9 < fastest < 1e14


def test_mixed_batches_and_switches_are_measured(asr):
    assert asr.find("batch-mixed/ours-fp32").status == "ok"
    assert asr.find("batch-mixed/ours-fp32").amount == pytest.approx(1.5)
    assert asr.find("batch-mixed/onnx").status == "skipped"
    assert asr.find("switch-memory/ours").summary.median < 0.02
    assert asr.find("switch-disk/transformers").status == "ok"


def test_result_has_its_conditions_without_folders(asr, tiny):
    assert {"transformers", "torch", "onnxruntime", "openvino"} <= set(asr.versions)
    assert (asr.model.name, asr.model.languages, asr.model.full_size) == ("checkpoint", 3, False)
    assert asr.command.startswith("mms-bench run asr --checkpoint checkpoint --bundle bundle")
    content = (tiny / "asr.json").read_text()
    assert str(tiny) not in content, "a published result names no folders of this machine"
    folders = sorted(path.name for path in (tiny / "cache" / "mms-engine" / "bench").iterdir())
    assert [name.rsplit("-", 1)[0] for name in folders] == ["onnx", "onnx-int8"]


def test_bundle_of_another_checkpoint_is_refused(tiny, tmp_path):
    other = make_tiny(tmp_path / "other", TinyOptions(seed=1))
    models = ("--checkpoint", str(other), "--bundle", str(tiny / "bundle"))
    done = CliRunner().invoke(main, ["run", "asr", *models])
    assert done.exit_code == 1
    assert "was exported from another checkpoint than" in done.stderr.splitlines()[-1]


def test_graphs_and_adapters_are_exported_and_timed(tiny):
    words = ("--checkpoint", tiny / "checkpoint", "--peers", "ours-fp32", "--min-time", "0")
    out = ("--json", tiny / "export.json")
    run("mms-bench", "run", "export", *words, *out, cache=tiny / "cache")
    result = load(tiny / "export.json")
    for key in ("export-graphs/torch.onnx", "export-graphs/ours-fp32", "export-adapters/ours"):
        row = result.find(key)
        assert row.status == "ok", row.reason
        assert row.peak_memory > 50e6
    assert result.find("export-adapters/ours").amount == 2
