"""The suite `asr` on stub peers in real worker processes."""

import psutil
import pytest

from bench.bench_samples import make_context
from mms_bench.suites import batch, clip, switch


def by_name(rows):
    return {(row.case, row.implementation): row for row in rows}


def workers():
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "stub_worker" in " ".join(child.cmdline())]


def test_clip_measures_those_that_are_right_and_says_why_not_of_the_others(tmp_path):
    peers = ("transformers", "onnx", "wrong", "misshapen", "missing", "unbuildable", "dying")
    context = make_context(tmp_path, peers)
    rows = by_name(clip.measure(context))
    assert {name for _, name in rows} == set(peers)

    good = rows["clip", "onnx"]
    assert good.status == "ok"
    assert good.check.passed
    assert good.check.max_abs_error == 0
    assert good.summary.count == len(good.samples) >= 3
    assert good.summary.median >= 0.002
    assert good.load_seconds >= 0.01
    assert good.first_seconds >= 0.002
    assert good.peak_memory > 1e6
    assert good.amount == 0.2
    assert rows["clip", "transformers"].check is None
    assert context.versions == {"stub": "1.0"}

    assert rows["clip", "missing"].status == "skipped"
    assert rows["clip", "missing"].reason == "nothing is not installed"
    for name, reason in {
        "wrong": "frames agree with the reference",
        "misshapen": r"gave logits of shape [99, 3]",
        "unbuildable": "RuntimeError: cannot be built",
        "dying": "SIGABRT: the last words",
    }.items():
        row = rows["clip", name]
        assert row.status == "failed"
        assert reason in row.reason
        assert row.samples == (), "what is wrong has no time"
        assert row.summary is None
    assert rows["clip", "wrong"].check.argmax_agreement < 0.5
    assert workers() == []


def test_without_the_reference_nothing_is_timed(tmp_path):
    context = make_context(tmp_path, ("transformers", "onnx"))
    original = context.worker

    def no_reference(peer, setup):
        return original("missing" if peer == "transformers" else peer, setup)

    object.__setattr__(context, "worker", no_reference)
    rows = by_name(clip.measure(context))
    assert [row.status for row in rows.values()] == ["skipped", "skipped"]
    assert "nothing to check against" in rows["clip", "onnx"].reason


def test_short_of_memory_there_are_several_heats_each_with_the_reference(tmp_path, monkeypatch):
    monkeypatch.setattr(clip, "_has_room", lambda racing: len(racing) < 3)
    rows = clip.measure(make_context(tmp_path, ("transformers", "onnx", "slow", "ours-fp32")))
    heats = sorted((row.heat, row.implementation) for row in rows)
    assert heats == [
        (1, "onnx"),
        (1, "ours-fp32"),
        (1, "transformers"),
        (2, "slow"),
        (2, "transformers"),
    ]


def test_room_is_what_is_free_against_the_largest(monkeypatch):
    class Entry:
        class worker:  # noqa: N801
            @staticmethod
            def peak_memory():
                return 4_000

    memory = type("memory", (), {"available": 8_001})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert clip._has_room([Entry])
    memory.available = 7_999
    assert not clip._has_room([Entry])


def test_batches_take_turns_and_are_checked(tmp_path):
    peers = ("transformers", "onnx", "ours-fp32", "ours-int8")
    rows = by_name(batch.measure(make_context(tmp_path, peers)))
    for case in ("batch-one", "batch-mixed"):
        row = rows[case, "ours-fp32"]
        assert row.status == "ok"
        assert row.check.passed
        assert row.check.frames == 2 * 100, "the first and the last row"
        assert row.amount == pytest.approx(4 * 0.2)
        assert rows[case, "ours-int8"].status == "skipped"
    assert rows["batch-mixed", "onnx"].reason == "holds one language: no batch can be mixed"
    assert ("batch-one", "onnx") not in rows
    assert workers() == []


def test_batches_need_two_languages(tmp_path):
    context = make_context(tmp_path, ("transformers", "ours-fp32"), languages=("eng",))
    rows = by_name(batch.measure(context))
    assert rows["batch-mixed", "ours-fp32"].status == "skipped"
    assert "needs two languages" in rows["batch-mixed", "ours-fp32"].reason


def test_switching(tmp_path):
    peers = ("transformers", "ours-int8", "ours-fp32")
    rows = by_name(switch.measure(make_context(tmp_path, peers)))
    assert set(rows) == {
        (case, name)
        for case in ("switch-memory", "switch-disk")
        for name in ("transformers", "ours")
    }
    assert rows["switch-memory", "transformers"].reason == "keeps nothing"
    slow, fast = rows["switch-disk", "transformers"], rows["switch-memory", "ours"]
    assert min(slow.samples) > 5 * min(fast.samples)
    assert workers() == []


def test_an_interrupt_leaves_no_worker(tmp_path):
    def tell(line):
        if line.startswith("round 1"):
            raise KeyboardInterrupt

    context = make_context(tmp_path, ("transformers", "slow"))
    object.__setattr__(context, "tell", tell)
    with pytest.raises(KeyboardInterrupt):
        clip.measure(context)
    assert workers() == []
