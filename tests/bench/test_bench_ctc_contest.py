import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.bench_samples import QUICK, make_context
from mms_bench.ctc.posteriors import posteriors
from mms_bench.ctc.task import Task
from mms_bench.schema import Case
from mms_bench.suites.ctc.beam import sum_of_log_probs
from mms_bench.suites.ctc.contest import ROUNDING, Contest, Exam, compete, crew
from mms_bench.timing import repeat

CASE = Case(name="beam", title="Beam", timing="Timed: x.", unit="frames", each="frame")
ALL = ("ours-avx2", "ours-avx512", "fast-ctc-decode", "numpy", "torchaudio")


@pytest.fixture
def emission(tmp_path):
    path = tmp_path / "emission.npy"
    labels = [1, 2, 3, 3]
    np.save(path, np.stack([posteriors(labels, 20, 5, "peaky", seed=s) for s in (0, 1)]))
    return path


def measure(tmp_path, emission, peers, **changes):
    context = make_context(tmp_path, peers)
    task = Task(kind="beam", emission=str(emission), beam_size=2)
    fields = {"case": CASE, "task": task, "peers": peers, "amount": 40.0}
    with crew(context) as workers:
        score = sum_of_log_probs(emission)
        contest = Contest(**(fields | {"crew": workers, "score": score} | changes))
        rows = compete(context, [contest], QUICK)
        pids = [worker.pid for worker in workers.found.values() if hasattr(worker, "pid")]
    assert len(set(pids)) == len(pids)
    return {row.implementation: row for row in rows}, context


def test_everyone_is_scored_first_and_a_missing_peer_says_why(tmp_path, emission):
    rows, context = measure(tmp_path, emission, ALL)
    assert set(rows) == set(ALL)
    assert (rows["torchaudio"].status, rows["torchaudio"].reason) == ("skipped", "is not installed")
    ours, peer, dull = (rows[name] for name in ("ours-avx2", "fast-ctc-decode", "numpy"))
    assert ours.status == peer.status == dull.status == "ok"
    assert ours.score == peer.score > dull.score
    assert ours.summary.median >= 0.002
    assert ours.amount == 40.0
    assert ours.peak_memory is None
    assert context.versions == {name: "1.0" for name in ALL if name != "torchaudio"}


def test_ours_has_no_time_where_a_peer_finds_more(tmp_path, emission):
    rows, _ = measure(tmp_path, emission, ALL)
    worse = rows["ours-avx512"]
    assert worse.status == "failed"
    assert worse.summary is None
    assert worse.reason.startswith("worse: what it finds scores -")
    assert worse.reason.endswith(f"fast-ctc-decode's {rows['fast-ctc-decode'].score:.6f}")
    # Beside one that finds as little as it does it stands.
    rows, _ = measure(tmp_path, emission, ("ours-avx512", "numpy"))
    assert rows["ours-avx512"].status == "ok"


@pytest.mark.parametrize(("share", "status"), [(0.9, "ok"), (1.1, "failed")])
def test_a_difference_of_rounding_is_none_and_no_other_is_allowed(
    tmp_path, emission, share, status
):
    scores = iter([-100.0 * (1 + share * ROUNDING), -100.0])
    rows, _ = measure(
        tmp_path, emission, ("ours-avx2", "fast-ctc-decode"), score=lambda _: next(scores)
    )
    assert rows["ours-avx2"].status == status


@pytest.mark.parametrize(("marks", "status"), [((-3.0, -2.0), "ok"), ((-2.0, -3.1), "failed")])
def test_exams_decide_by_their_sum_and_not_what_is_timed(tmp_path, emission, marks, status):
    exams = []
    for number, mark in enumerate(marks):
        file = tmp_path / f"exam-{number}.npy"
        np.save(file, np.load(emission)[:1])
        found = iter([mark, -2.5])  # ours, then the peer's; nobody sits an exam twice
        task = Task(kind="beam", emission=str(file), beam_size=2)
        exams.append(Exam(task, lambda labels, found=found: next(found) * len(labels)))
    timed = itertools.cycle([-9.0, -1.0])
    context = make_context(tmp_path, ("ours-avx2", "fast-ctc-decode"))
    with crew(context) as workers:
        contests = [
            Contest(
                case=replace(CASE, name=name),
                task=Task(kind="beam", emission=str(emission), beam_size=2),
                crew=workers,
                peers=("ours-avx2", "fast-ctc-decode"),
                amount=1.0,
                score=lambda _: next(timed),
                exams=tuple(exams),
            )
            for name in ("one", "other")
        ]
        rows = compete(context, contests, QUICK)
    found = {(row.case, row.implementation): row for row in rows}
    for case in ("one", "other"):
        ours = found[case, "ours-avx2"]
        assert (ours.status, ours.score) == (status, -9.0)
        assert found[case, "fast-ctc-decode"].status == "ok"
        wanted = "worse: what it finds scores -5.100000, fast-ctc-decode's -5.000000"
        assert ours.reason == ("" if status == "ok" else wanted)


def test_wrong_labels_and_tasks_that_cannot_be_done_are_rows(tmp_path, emission):
    def refuse(_):
        raise ValueError("not the text")

    rows, _ = measure(tmp_path, emission, ("ours-avx2",), score=refuse)
    assert (rows["ours-avx2"].status, rows["ours-avx2"].reason) == ("failed", "wrong: not the text")
    task = Task(kind="align", emission=str(emission))
    rows, _ = measure(tmp_path, emission, ("ours-avx2",), task=task)
    assert (rows["ours-avx2"].status, rows["ours-avx2"].reason) == ("skipped", "aligns nothing")


def test_what_brings_a_stream_to_its_age_is_not_timed(tmp_path, emission):
    task = Task(kind="stream", emission=str(emission))
    rows, _ = measure(
        tmp_path, emission, ("ours-scalar",), task=task, score=lambda _: None, memory=True
    )
    row = rows["ours-scalar"]
    assert (row.status, row.score) == ("ok", None)
    assert row.summary.median < 0.15
    assert row.first_seconds < 0.15
    assert row.peak_memory > 0


def test_one_race_holds_several_cases_and_a_worker_serves_them_all(tmp_path, emission):
    context = make_context(tmp_path, ("ours-avx2", "torchaudio"))
    task = Task(kind="beam", emission=str(emission), beam_size=2)
    with crew(context) as workers:
        contests = [
            Contest(
                case=replace(CASE, name=name),
                task=replace(task, beam_size=size),
                crew=workers,
                peers=("ours-avx2", "torchaudio"),
                amount=1.0,
                score=sum_of_log_probs(emission),
            )
            for name, size in (("small", 1), ("large", 80))
        ]
        rows = compete(context, contests, QUICK)
        assert set(workers.found) == {"ours-avx2", "torchaudio"}
    medians = {row.case: row.summary.median for row in rows if row.summary is not None}
    assert medians["large"] > medians["small"]
    assert len(rows) == 4


def test_repeat_calls_before_each_call_outside_the_time():
    order = []
    times = repeat(lambda: order.append("call"), 10, 3, lambda: order.append("before"))
    assert order == ["before", "call"] * 3
    assert len(times) == 3
