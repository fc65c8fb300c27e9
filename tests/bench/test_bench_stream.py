"""The suite on the demo model, with little to hear."""

import csv
from dataclasses import replace

import pytest

from bench.bench_samples import QUICK, make_result
from engine_demo import DEMO, demo_clips
from export_runs import run_export
from mms_bench.bars import judge
from mms_bench.errors import WorkerFailed
from mms_bench.options import Context, RunOptions
from mms_bench.peers.base import Setup
from mms_bench.report import html_page, markdown
from mms_bench.streaming import clients
from mms_bench.streaming.listen import listen
from mms_bench.streaming.offline import transcribe
from mms_bench.streaming.points import POINTS
from mms_bench.suites.stream import SUITE, contexts
from mms_bench.suites.stream import clients as clients_suite
from mms_bench.suites.stream.setting import long_recordings, open_engine
from mms_engine.asr.streaming import StreamOptions

pytestmark = pytest.mark.skipif(not demo_clips(), reason="the demo has no clips")


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    bundle = folder / "bundle"
    run_export(DEMO / "checkpoint", bundle)
    clip = next(clip for clip in demo_clips() if clip.language == "eng")
    with (folder / "list.tsv").open("w", newline="") as stream:
        table = csv.writer(stream, delimiter="\t")
        table.writerows([("file", "lang", "text"), (clip.path, clip.language, clip.text)])
    options = RunOptions(
        peers=("ours-fp32", "transformers", "sherpa-onnx"),
        checkpoint=DEMO / "checkpoint",
        model="demo",
        bundle=bundle,
        demo_bundle=bundle,
        audio=(clip.path,),
        recordings=folder / "list.tsv",
        seconds=2.0,
        threads=1,
        cache=folder,
        pace=replace(QUICK, min_time=0.0, warmup=0.0),
    )
    setup = Setup(
        checkpoint=str(options.checkpoint),
        bundle=str(bundle),
        cache=str(folder),
        languages=("eng",),
        threads=1,
    )
    return Context(options, setup, folder, lambda _: None, {})


@pytest.fixture(scope="module")
def engine(context):
    return open_engine(context, "ours-fp32")


@pytest.fixture(scope="module")
def rows(context):
    with pytest.MonkeyPatch.context() as patch:
        chosen = tuple(point for point in POINTS if point.name in ("low", "balanced"))
        patch.setattr(contexts, "POINTS", chosen)
        patch.setattr(clients_suite, "COUNTS", (1, 2))
        patch.setattr(clients_suite, "DEADLINE", 60.0)
        return [row for part in SUITE.parts for row in part.measure(context)]


def find(rows, case, name):
    return next(row for row in rows if (row.case, row.implementation) == (case, name))


def test_contexts_have_every_figure(rows):
    low = find(rows, "contexts", "ours-fp32 low").figures
    assert low.keys() == {figure.name for figure in contexts.CASE.figures}
    assert 0 <= low["cer"] < 0.6
    assert low["delay_p50"] <= low["delay_p95"] <= low["delay_p99"] < 3
    assert 0 < low["first"] < low["final"] + 10
    assert low["compute"] > 0
    offline = find(rows, "contexts", "ours-fp32 offline").figures
    assert low["cer_ratio"] == pytest.approx(low["cer"] / offline["cer"])


def test_peers_have_a_row_each(rows):
    pipeline = find(rows, "contexts", "transformers pipeline 4/4/2")
    assert pipeline.status == "ok", pipeline.reason
    assert pipeline.figures["cer_offline"] < 0.3
    assert pipeline.figures["upwr"] == 0
    sherpa = find(rows, "contexts", "sherpa-onnx")
    assert sherpa.status == "skipped"
    assert sherpa.reason


def test_steps_and_clients(rows):
    window = find(rows, "steps", "ours-fp32 window")
    cached = find(rows, "steps", "ours-fp32 cached")
    assert window.summary.median > cached.summary.median > 0
    held = find(rows, "clients", "ours-fp32 sustained").figures
    assert held["streams"] == 2
    assert held["agreed"] > 0.9
    assert 0 < held["p50"] <= held["p95"] <= held["p99"]


def test_the_report_shows_and_draws_them(rows):
    cases = tuple(case for part in SUITE.parts for case in part.cases)
    result = make_result(rows, cases, suite="stream")
    text = markdown.render(result)
    assert "| MMS Engine (fp32 low) |" in text
    assert "unstable partial word ratio" in text
    assert html_page.render([result]).count("<img") == 3
    verdicts = {item.bar.title: item.verdict for item in judge(result)}
    assert verdicts["real-time streams of the demo model with a p95 of 300 ms"] == "fail"
    assert verdicts["balanced: unstable partial word ratio"] == "not judged"


def test_words_are_aligned_where_they_were_said(context, engine):
    recording = long_recordings(context)[0]
    offline = transcribe(engine, recording)
    spoken = offline.spoken(offline.text.split())
    for word, start, end in zip(offline.words, spoken.starts, spoken.ends, strict=True):
        assert start == pytest.approx(word.start, abs=0.1)
        assert end == pytest.approx(word.end, abs=0.1)


def test_delays_do_not_depend_on_the_clock(context, engine):
    recording = long_recordings(context)[0]
    seen = [
        [
            (event.audio_seconds, type(event))
            for event in listen(engine, recording, StreamOptions()).events
        ]
        for _ in range(2)
    ]
    assert seen[0] == seen[1]


def test_clients_that_are_not_served_in_time_fail(context, engine, monkeypatch):
    talks = clients.make_talks(engine, long_recordings(context), 1.0, StreamOptions())
    monkeypatch.setattr(clients, "PATIENCE", -60.0)
    real = clients.StreamPool._encode
    monkeypatch.setattr(
        clients.StreamPool, "_encode", lambda *given: (clients.time.sleep(0.5), real(*given))
    )
    with pytest.raises(WorkerFailed, match="fell behind"):
        clients.speak(engine, talks, 1, StreamOptions())
