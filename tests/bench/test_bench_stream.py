"""The suite `stream` on the demo model with little audio, and its figures by hand."""

from dataclasses import replace

import pytest

from bench.bench_samples import QUICK, by_key, make_context, make_result
from engine_demo import DEMO, demo_clips
from export_runs import run_export
from mms_bench.report import html, markdown
from mms_bench.suites.stream import SUITE, clients, contexts
from mms_bench.suites.stream.engine import open_recognizer
from mms_bench.suites.stream.quality import (
    FIGURES,
    Display,
    Utterance,
    emission_times,
    unstable_words,
    utterances,
)
from mms_bench.targets import judge
from mms_engine.asr.streaming import Endpoint, Final, Partial
from mms_engine.types import Transcript, Word

needs_clips = pytest.mark.skipif(not demo_clips(), reason="the demo has no clips")


@pytest.fixture(scope="module")
def context(tmp_path_factory, demo_lid):
    folder = tmp_path_factory.mktemp("stream")
    run_export(DEMO / "checkpoint", folder / "bundle")
    clip = next(clip for clip in demo_clips() if clip.language == "eng")
    rows = [("file", "lang", "text"), (str(clip.path), clip.language, clip.text)]
    (folder / "list.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    return make_context(
        folder,
        ("ours-fp32", "ours-int8"),
        languages=("eng",),
        audio=(clip.path,),
        recordings=folder / "list.tsv",
        identifier=demo_lid,
        seconds=2.0,
        pace=replace(QUICK, min_time=0.0, warmup=0.0),
        checkpoint=DEMO / "checkpoint",
        bundle=folder / "bundle",
    )


@pytest.fixture(scope="module")
def recognizer(context):
    return open_recognizer(context.options, "ours-fp32")


@pytest.fixture(scope="module")
def rows(context):
    with pytest.MonkeyPatch.context() as patch:
        names = ("low", "window 5/0.64/0.32")
        patch.setattr(contexts, "POINTS", {name: contexts.POINTS[name] for name in names})
        patch.setattr(clients, "COUNTS", (1, 2))
        patch.setattr(clients, "DEADLINE", 60.0)
        return by_key(row for part in SUITE.parts for row in part.measure(context))


@needs_clips
def test_contexts_have_every_figure(rows):
    low = rows["contexts/ours-fp32 low"].figures
    assert low.keys() == {figure.name for figure in FIGURES}
    assert 0 <= low["cer"] < 0.6
    assert low["delay_p50"] <= low["delay_p95"] <= low["delay_p99"] < 3
    assert low["upwr"] == 0
    assert low["compute"] > 0
    offline = rows["contexts/ours-fp32 offline"].figures
    assert low["cer_ratio"] == pytest.approx(low["cer"] / offline["cer"])
    assert rows["contexts/ours-int8"].status == "skipped"


@needs_clips
def test_steps_and_clients_are_measured(rows):
    window = rows["steps/ours-fp32 window"]
    cached = rows["steps/ours-fp32 cached"]
    assert window.summary.median > cached.summary.median > 0
    for name in ("ours-fp32", "ours-fp32 auto"):
        held = rows[f"clients/{name} sustained"].figures
        assert held["streams"] == 2
        assert held["agreed"] > 0.9
        assert 0 < held["p50"] <= held["p95"] <= held["p99"]


@needs_clips
def test_report_shows_and_draws_the_rows(rows):
    cases = tuple(case for part in SUITE.parts for case in part.cases)
    result = make_result(rows.values(), cases, suite="stream")
    assert "| MMS Engine (fp32 low) |" in markdown.render(result)
    assert html.render([result]).count("<img") == 3
    verdicts = {item.target.title: item.verdict for item in judge(result)}
    assert verdicts["real-time streams of the demo model with a p95 of 300 ms"] == "fail"
    assert verdicts["balanced: unstable partial word ratio"] == "not judged"


def shown(*displays):
    return tuple(Display(at, tuple(text.split())) for at, text in displays)


def words(text):
    return tuple(Word(word, 0.0, 1.0, 1.0) for word in text.split())


def test_events_become_utterances():
    def partial(text, at):
        return Partial(text, words(text), 0, at, 0.0)

    def endpoint(at):
        return Endpoint("pause", at, at, 0.0)

    final = Final(Transcript("hello you", "eng", words("hello you"), 1.0, 1.0), 0.0, 2.0, 0.0)
    events = [
        *(partial("he", 1.0), final, endpoint(2.0)),
        *(partial("ah", 3.0), endpoint(4.0), endpoint(6.0)),
    ]
    assert utterances(events) == [
        Utterance(shown((1.0, "he"), (2.0, "hello you")), words("hello you")),
        Utterance(shown((3.0, "ah"), (4.0, ""))),
    ]


def test_emission_of_a_word_is_when_it_stays():
    one = shown(
        (1, "a cat"), (2, "the cat"), (3, "the cut is"), (4, "the cat is"), (5, "the cat is")
    )
    assert emission_times(one) == [2, 4, 3]


@pytest.mark.parametrize(
    ("displays", "count"),
    [
        (("the c", "the cat", "the cat sat"), 0),
        (("the cat", "the cut"), 1),
        (("a cat sat", "the cat sat"), 1),
        (("the c is", "the cat is"), 1),
        (("the cat sat", "the"), 2),
        (("ah", ""), 1),
        (("", "ah"), 0),
    ],
)
def test_words_that_change_are_unstable_unless_the_last_one_grows(displays, count):
    assert unstable_words(shown(*enumerate(displays))) == count
