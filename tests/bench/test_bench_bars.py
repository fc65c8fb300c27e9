import pytest

from bench.bench_samples import CLIP, MIXED, ONE, make_result, make_row
from mms_bench.bars import BARS, judge, ratio
from mms_bench.schema import Model, Row

TITLE = "fp32 against transformers"


def verdict(result, title):
    return next(item for item in judge(result) if item.bar.title == title)


def test_every_limit_of_the_plan_is_here():
    limits = {(bar.suite, bar.title): bar.limit for bar in BARS}
    assert limits["asr", TITLE] == 1.25
    assert limits["asr", "int8 against transformers"] == 2.0
    assert limits["asr", "mixed languages against one language, fp32"] == 0.97
    assert limits["asr", "change of language, from memory"] == 1e-3
    assert limits["asr", "change of language, from disk"] == 20e-3
    assert limits["asr", "change of language, from memory, against load_adapter"] == 100
    assert limits["asr", "mms transcribe, one clip, cold process, demo bundle"] == 1.2
    assert limits["asr", "mms --help, cold process"] == 0.3
    assert limits["export", "graphs in int8, time"] == 180
    assert limits["export", "graphs in fp16, memory"] == 8e9
    assert limits["export", "adapters, memory"] == 4e9
    assert len(limits) == len(BARS)


@pytest.mark.parametrize(("seconds", "expected"), [(8.0, "pass"), (8.16, "pass"), (8.2, "fail")])
def test_a_ratio_is_of_medians(seconds, expected):
    rows = (make_row("clip", "transformers", [10.2]), make_row("clip", "ours-fp32", [seconds]))
    found = verdict(make_result(rows), TITLE)
    assert found.verdict == expected
    assert found.value == pytest.approx(10.2 / seconds)


def test_only_the_reference_of_the_same_heat_counts():
    rows = (
        make_row("clip", "transformers", [10.0]),
        make_row("clip", "transformers", [20.0], heat=2),
        make_row("clip", "ours-fp32", [10.0], heat=2),
    )
    result = make_result(rows)
    assert verdict(result, TITLE).value == 2.0
    assert ratio(rows[0], result, ("clip", "ours-fp32")) is None


def test_a_wrong_result_fails_and_a_missing_one_is_not_judged():
    failed = Row(case="clip", implementation="ours-fp32", status="failed", reason="wrong: …")
    found = verdict(make_result((failed,)), TITLE)
    assert (found.verdict, found.reason) == ("fail", "failed: wrong: …")
    skipped = Row(case="clip", implementation="ours-fp32", status="skipped", reason="no bundle")
    assert verdict(make_result((skipped,)), TITLE).verdict == "not judged"
    other = make_result((make_row("clip", "ours-fp32", [1.0]),))
    assert verdict(other, TITLE).reason == "transformers gives no figure"
    assert verdict(other, "mms --help, cold process").reason == "not measured"


@pytest.mark.parametrize(
    "change",
    [
        {"model": Model(name="demo", parameters=4_000_000, languages=5, full_size=False)},
        {"settings": {"clip": "3 s", "threads": "2"}},
        {"settings": {"clip": "10 s", "threads": "8"}},
    ],
)
def test_promises_hold_for_the_true_size_and_the_settings_of_the_plan_only(change):
    found = verdict(make_result(**change), TITLE)
    assert found.verdict == "not judged"
    assert found.value == pytest.approx(10.2 / 8.1)


def test_the_cold_start_is_judged_on_any_model():
    small = Model(name="demo", parameters=4, languages=5, full_size=False)
    rows = (make_row("cold", "mms --help", [0.31]), make_row("cold", "mms transcribe", [1.1]))
    result = make_result(rows, model=small)
    assert verdict(result, "mms --help, cold process").verdict == "fail"
    title = "mms transcribe, one clip, cold process, demo bundle"
    assert verdict(result, title).verdict == "pass"


def test_rates_and_bytes():
    rows = (
        make_row("export-adapters", "ours", [10.0], amount=20, peak_memory=5_000_000_000),
        make_row("export-graphs", "ours-fp16", [100.0], peak_memory=7_900_000_000),
    )
    result = make_result(rows, suite="export", settings={})
    assert verdict(result, "adapters (1,162 in ten minutes)").value == 2.0
    assert verdict(result, "adapters (1,162 in ten minutes)").verdict == "pass"
    assert verdict(result, "adapters, memory").verdict == "fail"
    assert verdict(result, "graphs in fp16, memory").verdict == "pass"
    assert verdict(result, "graphs in fp16, time").verdict == "pass"


def test_mixed_is_compared_with_the_same_implementation():
    rows = (
        make_row("batch-one", "ours-int8", [10.0], amount=80),
        make_row("batch-mixed", "ours-int8", [10.2], amount=80),
    )
    result = make_result(rows, cases=(CLIP, ONE, MIXED))
    assert verdict(result, "mixed languages against one language, int8").verdict == "pass"
