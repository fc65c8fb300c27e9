import pytest

from bench.bench_samples import make_result, make_row
from mms_bench.run.result import Case, Model, Row
from mms_bench.suites import NAMES, load_suite
from mms_bench.targets import TARGETS, judge

TITLE = "fp32 against transformers"
SMALL = Model(name="demo", parameters=4_000_000, languages=5, full_size=False)


def case(name):
    return Case(name=name, title=name, timing="Timed: x.")


def verdict(result, title):
    return next(item for item in judge(result) if item.target.title == title)


@pytest.mark.parametrize("name", NAMES)
def test_every_target_names_a_case_and_baselines_too(name):
    cases = {case.name for part in load_suite(name).parts for case in part.cases}
    for target in (target for target in TARGETS if target.suite == name):
        assert target.row.partition("/")[0] in cases
        assert "/" not in target.of or target.of.partition("/")[0] in cases


def test_quantities():
    rows = [
        make_row("lm-plain-cut-diffuse/ours-avx2", [1.0]),
        make_row("lm-words-cut-diffuse/ours-avx2", [2.4]),
        make_row("lm-hotwords-cut-diffuse/ours-avx2", [1.7]),
        make_row("greedy-32/ours-avx2", [1e-3], amount=50_000),
        make_row("export-adapters/ours", [10.0], amount=20, peak_memory=5_000_000_000),
        make_row("export-graphs/ours-fp16", [100.0], peak_memory=7_900_000_000),
        make_row("batch-one/ours-int8", [10.0], amount=80),
        make_row("batch-mixed/ours-int8", [10.2], amount=80),
        Row(case="clients", implementation="ours-fp32 sustained", figures={"streams": 100.0}),
    ]
    cases = tuple(case(row.case) for row in rows)
    results = [make_result(rows, cases, suite=name) for name in NAMES]
    found = {item.target.title: item for result in results for item in judge(result)}
    for title, value, expected in (
        ("5-gram of words", 2.4, "pass"),
        ("1,000 hotwords", 1.7, "fail"),
        ("greedy, per frame", 20e-9, "pass"),
        ("adapters (1,162 in ten minutes)", 2.0, "pass"),
        ("adapters, memory", 5e9, "fail"),
        ("graphs in fp16, memory", 7.9e9, "pass"),
        ("graphs in fp16, time", 100.0, "pass"),
        ("mixed languages against one language, int8", 10 / 10.2, "pass"),
        ("real-time streams of the demo model with a p95 of 300 ms", 100.0, "pass"),
    ):
        assert found[title].value == pytest.approx(value), title
        assert found[title].verdict == expected, title


@pytest.mark.parametrize(("seconds", "expected"), [(8.0, "pass"), (8.16, "pass"), (8.2, "fail")])
def test_ratio_is_of_medians(seconds, expected):
    rows = (make_row("clip/transformers", [10.2]), make_row("clip/ours-fp32", [seconds]))
    found = verdict(make_result(rows), TITLE)
    assert found.verdict == expected
    assert found.value == pytest.approx(10.2 / seconds)


def test_wrong_result_fails_and_missing_one_is_not_judged():
    failed = Row(case="clip", implementation="ours-fp32", status="failed", reason="wrong: …")
    found = verdict(make_result((failed,)), TITLE)
    assert (found.verdict, found.reason) == ("fail", "failed: wrong: …")
    skipped = Row(case="clip", implementation="ours-fp32", status="skipped", reason="no bundle")
    assert verdict(make_result((skipped,)), TITLE).verdict == "not judged"
    other = make_result((make_row("clip/ours-fp32", [1.0]),))
    assert verdict(other, TITLE).reason == "transformers has no figure"
    assert verdict(other, "int8 against transformers").reason == "not measured"
    assert {item.target.row.partition("/")[0] for item in judge(other)} == {"clip"}


@pytest.mark.parametrize(
    "change",
    [
        {"model": SMALL},
        {"settings": {"clip": "3 s", "threads": "2"}},
        {"settings": {"clip": "10 s", "threads": "8"}},
    ],
)
def test_targets_for_the_full_size_need_its_settings(change):
    found = verdict(make_result(**change), TITLE)
    assert found.verdict == "not judged"
    assert found.value == pytest.approx(10.2 / 8.1)
