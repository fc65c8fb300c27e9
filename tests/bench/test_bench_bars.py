import pytest

from bench.bench_samples import CLIP, MIXED, ONE, make_result, make_row
from mms_bench.bars import BARS, judge, ratio
from mms_bench.schema import Model, Row
from mms_bench.suites import SUITES

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


def test_every_limit_of_the_kernels_is_here():
    limits = {bar.title: (bar.quantity, bar.limit) for bar in BARS if bar.suite == "ctc"}
    for source in ("peaky", "diffuse", "real"):
        for tokens, each in (
            ("token cut e^-5", {16: 0.8e-6, 50: 2.2e-6, 100: 4.5e-6}),
            ("all tokens", {16: 2.5e-6, 50: 6e-6, 100: 11e-6}),
        ):
            for size, seconds in each.items():
                title = f"beam {size}, {tokens}, {source}"
                assert limits[f"{title}: a frame"] == ("each", pytest.approx(seconds))
                faster = 1.2 if tokens.startswith("token") else 10.0
                assert limits[f"{title}: against fast-ctc-decode"] == ("ratio", faster)
                flashlight = limits.get(f"{title}: against flashlight-text")
                assert flashlight == (None if faster == 1.2 else ("ratio", 20.0))
    for source in ("peaky", "diffuse"):
        for tokens in ("token cut e^-5", "all tokens"):
            title = f"beam 50, {tokens}, {source}: cost of"
            assert limits[f"{title} a 5-gram of words"] == ("cost", 2.5)
            assert limits[f"{title} 1,000 hotwords"] == ("cost", 1.3)
        title = f"beam 50, 5-gram of words, token cut e^-5, {source}: against pyctcdecode"
        assert limits[title] == ("ratio", 30.0)
        assert limits[f"beam 50, 3,000 tokens, {source}: a frame"] == ("each", 30e-6)
    assert limits["greedy, 32 tokens: a frame"] == ("each", 30e-9)
    for vocab in ("1,000", "3,000"):
        assert limits[f"greedy, {vocab} tokens: bytes"] == ("rate", 12e9)
    assert limits["two threads, batch of 64"] == ("ratio", 1.8)
    assert limits["a frame at 1,000,000: cost over one at 1,000"] == ("cost", 1.1)
    assert limits["alignment: cells"] == ("rate", 3e9)
    assert limits["alignment: against torchaudio"] == ("ratio", 6.0)
    assert limits["alignment of an hour: memory"] == ("bytes", 256e6)
    assert limits["alignment of an hour: cost of the bound"] == ("cost", 2.0)


def test_every_promise_of_the_kernels_names_a_case_of_the_suite():
    cases = {case.name for part in SUITES["ctc"]().parts for case in part.cases}
    peers = SUITES["ctc"]().peers
    for bar in (bar for bar in BARS if bar.suite == "ctc"):
        assert bar.case in cases
        assert bar.implementation in peers
        assert bar.baseline == ("", "") or (bar.baseline[0] in cases and bar.baseline[1] in peers)


def test_the_time_of_one_and_the_cost_over_another():
    rows = (
        make_row("beam-16-cut-peaky", "ours-avx2", [1.4e-3], amount=2000),
        make_row("lm-plain-all-peaky", "ours-avx2", [1.0]),
        make_row("lm-words-all-peaky", "ours-avx2", [2.4]),
        make_row("lm-hotwords-all-peaky", "ours-avx2", [1.4]),
        make_row("hour-bounded", "ours-avx2", [1.0], peak_memory=300_000_000),
    )
    result = make_result(rows, suite="ctc", settings={})
    each = verdict(result, "beam 16, token cut e^-5, peaky: a frame")
    assert (each.verdict, each.value) == ("pass", pytest.approx(0.7e-6))
    words = verdict(result, "beam 50, all tokens, peaky: cost of a 5-gram of words")
    assert (words.verdict, words.value) == ("pass", pytest.approx(2.4))
    hot = verdict(result, "beam 50, all tokens, peaky: cost of 1,000 hotwords")
    assert (hot.verdict, hot.value) == ("fail", pytest.approx(1.4))
    assert verdict(result, "alignment of an hour: memory").verdict == "fail"
    bound = verdict(result, "alignment of an hour: cost of the bound")
    assert (bound.verdict, bound.reason) == ("not judged", "ours-avx2 gives no figure")


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
