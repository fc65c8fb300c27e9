"""The suite `asr` on stub peers in real worker processes."""

import psutil

from bench.bench_samples import by_key
from bench.bench_samples import make_context as sample_context
from bench.stub_peers import TABLE
from mms_bench.run import context as measuring
from mms_bench.suites import asr


def make_context(folder, peers, **extra):
    return sample_context(folder, peers, **({"table": TABLE} | extra))


def workers():
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "serve(" in " ".join(child.cmdline())]


def test_clip_times_correct_peers_and_explains_the_others(tmp_path):
    peers = ("transformers", "onnx", "wrong", "misshapen", "missing", "unbuildable", "dying")
    rows = by_key(asr.measure_clip(make_context(tmp_path, peers)))
    assert set(rows) == {f"clip/{name}" for name in peers}

    good = rows["clip/onnx"]
    assert good.status == "ok"
    assert good.check.passed
    assert good.check.max_abs_error == 0
    assert good.summary.count == len(good.samples) >= 3
    assert good.summary.median >= 0.002
    assert good.load_seconds >= 0.01
    assert good.first_seconds >= 0.002
    assert good.peak_memory > 50e6
    assert good.amount == 0.2
    assert rows["clip/transformers"].check is None

    assert rows["clip/missing"].status == "skipped"
    assert rows["clip/missing"].reason == "no-such-package is not installed"
    for name, reason in {
        "wrong": "frames agree with the reference",
        "misshapen": "returned logits of shape [99, 3]",
        "unbuildable": "RuntimeError: cannot be built",
        "dying": "SIGABRT: the last words",
    }.items():
        row = rows[f"clip/{name}"]
        assert row.status == "failed"
        assert reason in row.reason
        assert row.samples == (), "a wrong result has no time"
        assert row.summary is None
    assert rows["clip/wrong"].check.argmax_agreement < 0.5
    assert workers() == []


def test_without_the_reference_nothing_is_timed(tmp_path):
    table = TABLE | {"transformers": TABLE["missing"]}
    context = make_context(tmp_path, ("transformers", "onnx"), table=table)
    rows = by_key(asr.measure_clip(context))
    assert [row.status for row in rows.values()] == ["skipped", "skipped"]
    assert "no result to check against" in rows["clip/onnx"].reason


def test_peer_without_room_in_memory_is_skipped(tmp_path, monkeypatch):
    memory = psutil.virtual_memory()._replace(available=100e6)
    monkeypatch.setattr(measuring.psutil, "virtual_memory", lambda: memory)
    rows = by_key(asr.measure_clip(make_context(tmp_path, ("transformers", "onnx"))))
    assert rows["clip/transformers"].status == "ok"
    assert rows["clip/onnx"].status == "skipped"
    assert "run fewer at a time" in rows["clip/onnx"].reason


def test_one_language_is_too_few_for_batch_and_switch(tmp_path):
    context = make_context(tmp_path, ("transformers", "ours-fp32"), languages=("eng",))
    rows = by_key(asr.measure_batch(context) + asr.measure_switch(context))
    for row in (rows["batch-mixed/ours-fp32"], rows["switch-disk/transformers"]):
        assert row.status == "skipped"
        assert "needs two languages" in row.reason


def test_switch_from_memory_and_from_disk(tmp_path):
    peers = ("transformers", "ours-fp32", "ours-int8")
    rows = by_key(asr.measure_switch(make_context(tmp_path, peers)))
    cases = ("switch-memory", "switch-disk")
    assert set(rows) == {f"{case}/{name}" for case in cases for name in ("transformers", "ours")}
    assert "keeps no languages" in rows["switch-memory/transformers"].reason
    disk, memory = rows["switch-disk/ours"], rows["switch-memory/ours"]
    assert min(disk.samples) > 5 * min(memory.samples)
