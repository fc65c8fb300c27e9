import pytest

from bench.bench_samples import CLIP, MIXED, ONE, make_result, make_row
from mms_bench.run.result import Case, Curve, Figure, Model, Row
from mms_bench.suites import NAMES, load_suite
from mms_bench.targets import TARGETS, judge

TITLE = "fp32 against transformers"
SMALL = Model(name="demo", parameters=4_000_000, languages=5, full_size=False)


def case(name):
    return Case(name=name, title=name, timing="Timed: x.")


def verdict(result, title):
    return next(item for item in judge(result) if item.target.title == title)


def test_limits_are_those_of_the_plan():
    limits = {target.title: (target.quantity, target.limit) for target in TARGETS}
    assert len(limits) == len(TARGETS)
    for title, limit in {
        TITLE: ("ratio", 1.25),
        "int8 against transformers": ("ratio", 2.0),
        "mixed languages against one language, fp32": ("ratio", 0.97),
        "switch to a resident language": ("seconds", 1e-3),
        "switch to a language on disk": ("seconds", 20e-3),
        "resident language against load_adapter": ("ratio", 100),
        "mms transcribe, demo bundle, cold": ("seconds", 1.2),
        "mms --help, cold": ("seconds", 0.3),
        "graphs in int8, time": ("seconds", 180),
        "graphs in fp16, memory": ("bytes", 8e9),
        "adapters, memory": ("bytes", 4e9),
        "beam 50, real, token cut e^-5, against fast-ctc-decode": ("ratio", 1.2),
        "beam 50, peaky, all tokens, against fast-ctc-decode": ("ratio", 10.0),
        "5-gram of words": ("cost", 2.5),
        "1,000 hotwords": ("cost", 1.6),
        "alignment, cells": ("rate", 3e9),
        "balanced: CER / offline CER": ("figure", 1.10),
        "cached against window at equal sizes, int8": ("ratio", 4.0),
    }.items():
        assert limits[title] == limit


@pytest.mark.parametrize("name", NAMES)
def test_every_target_names_a_case_and_baselines_too(name):
    cases = {case.name for part in load_suite(name).parts for case in part.cases}
    for target in (target for target in TARGETS if target.suite == name):
        assert target.row.partition("/")[0] in cases
        assert "/" not in target.of or target.of.partition("/")[0] in cases


def test_cost_and_time_per_unit():
    names = ("plain", "words", "hotwords")
    rows = [
        make_row(f"lm-{name}-cut-diffuse", "ours-avx2", [seconds])
        for name, seconds in zip(names, (1.0, 2.4, 1.7), strict=True)
    ]
    rows.append(make_row("greedy-32", "ours-avx2", [1e-3], amount=50_000))
    cases = tuple(case(row.case) for row in rows)
    result = make_result(rows, cases, suite="ctc", settings={})
    assert verdict(result, "5-gram of words").value == pytest.approx(2.4)
    assert verdict(result, "5-gram of words").verdict == "pass"
    assert verdict(result, "1,000 hotwords").verdict == "fail"
    assert verdict(result, "greedy, per frame").value == pytest.approx(20e-9)


@pytest.mark.parametrize(("seconds", "expected"), [(8.0, "pass"), (8.16, "pass"), (8.2, "fail")])
def test_ratio_is_of_medians(seconds, expected):
    rows = (make_row("clip", "transformers", [10.2]), make_row("clip", "ours-fp32", [seconds]))
    found = verdict(make_result(rows), TITLE)
    assert found.verdict == expected
    assert found.value == pytest.approx(10.2 / seconds)


def test_only_the_reference_of_the_same_group_counts():
    rows = (
        make_row("clip", "transformers", [10.0]),
        make_row("clip", "transformers", [20.0], group=2),
        make_row("clip", "ours-fp32", [10.0], group=2),
    )
    result = make_result(rows)
    assert verdict(result, TITLE).value == 2.0
    assert result.ratio(rows[0], ("clip", "ours-fp32")) is None


def test_wrong_result_fails_and_missing_one_is_not_judged():
    failed = Row(case="clip", implementation="ours-fp32", status="failed", reason="wrong: …")
    found = verdict(make_result((failed,)), TITLE)
    assert (found.verdict, found.reason) == ("fail", "failed: wrong: …")
    skipped = Row(case="clip", implementation="ours-fp32", status="skipped", reason="no bundle")
    assert verdict(make_result((skipped,)), TITLE).verdict == "not judged"
    other = make_result((make_row("clip", "ours-fp32", [1.0]),))
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


def test_cold_start_is_judged_on_any_model():
    rows = (make_row("cold", "mms --help", [0.31]), make_row("cold", "mms transcribe", [1.1]))
    result = make_result(rows, (case("cold"),), model=SMALL)
    assert verdict(result, "mms --help, cold").verdict == "fail"
    assert verdict(result, "mms transcribe, demo bundle, cold").verdict == "pass"


def test_rates_and_bytes():
    rows = (
        make_row("export-adapters", "ours", [10.0], amount=20, peak_memory=5_000_000_000),
        make_row("export-graphs", "ours-fp16", [100.0], peak_memory=7_900_000_000),
    )
    cases = (case("export-adapters"), case("export-graphs"))
    result = make_result(rows, cases, suite="export", settings={})
    adapters = verdict(result, "adapters (1,162 in ten minutes)")
    assert (adapters.verdict, adapters.value) == ("pass", 2.0)
    assert verdict(result, "adapters, memory").verdict == "fail"
    assert verdict(result, "graphs in fp16, memory").verdict == "pass"
    assert verdict(result, "graphs in fp16, time").verdict == "pass"


def test_figures_and_mixed_batches():
    figures = {"streams": 100.0}
    row = Row(case="clients", implementation="ours-fp32 sustained", figures=figures)
    clients = Case(
        name="clients",
        title="Clients",
        timing="Wall clock.",
        figures=(Figure("streams", "streams", "number"),),
        curves=(Curve("streams", "streams"),),
    )
    result = make_result((row,), (clients,), suite="stream", model=SMALL)
    title = "real-time streams of the demo model with a p95 of 300 ms"
    assert verdict(result, title).verdict == "pass"
    rows = (
        make_row("batch-one", "ours-int8", [10.0], amount=80),
        make_row("batch-mixed", "ours-int8", [10.2], amount=80),
    )
    result = make_result(rows, cases=(CLIP, ONE, MIXED))
    assert verdict(result, "mixed languages against one language, int8").verdict == "pass"
