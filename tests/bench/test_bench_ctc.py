"""The suite `ctc`: contests of stub decoders, generated inputs and real decoders."""

import importlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.bench_samples import by_key, make_context
from bench.stub_peers import TABLE
from mms_bench.errors import Skipped
from mms_bench.peers import DECODERS
from mms_bench.peers.base import Task, collapse
from mms_bench.run.result import Case
from mms_bench.suites import ctc
from mms_bench.suites.ctc import language
from mms_bench.suites.ctc.contest import ROUNDING, contest
from mms_bench.suites.ctc.posteriors import posteriors
from mms_engine.text.vocabulary import BLANK

CASE = Case(name="beam", title="Beam", timing="Timed: x.", unit="frames", each="frame")
ALL = ("ours-avx2", "ours-avx512", "fast-ctc-decode", "numpy", "torchaudio")
EMISSION = np.stack([posteriors([1, 2, 3, 3], 20, 5, "peaky", seed=seed) for seed in (0, 1)])
TASK = Task(kind="beam", emission=EMISSION, beam_size=2)


SCORE = ctc.log_prob_score(EMISSION)


def run(folder, peers, score=SCORE, tasks=(TASK,)):
    context = make_context(folder, peers, table=TABLE)
    trials = [
        trial
        for number, task in enumerate(tasks)
        for trial in contest(context, replace(CASE, name=f"beam{number}"), task, ALL, score)
    ]
    return by_key(context.measure(trials, load=False))


def test_peers_are_scored_before_they_are_timed(tmp_path):
    rows = run(tmp_path, ALL)
    assert rows["beam0/torchaudio"].status == "skipped"
    ours, worse, peer, dull = (rows[f"beam0/{name}"] for name in ALL[:4])
    assert ours.status == peer.status == dull.status == "ok"
    assert ours.score == peer.score > dull.score
    assert ours.summary.median >= 0.002
    assert ours.amount == 40.0
    assert ours.peak_memory is None
    # One of ours that finds less than another project's is not timed.
    assert worse.status == "failed"
    assert worse.summary is None
    assert worse.reason.startswith("worse: its results score -")
    assert worse.reason.endswith(f"fast-ctc-decode's {peer.score:.6f}")
    # Beside one that finds as little it is.
    assert run(tmp_path, ("ours-avx512", "numpy"))["beam0/ours-avx512"].status == "ok"


@pytest.mark.parametrize(("share", "status"), [(0.9, "ok"), (1.1, "failed")])
def test_scores_may_differ_by_rounding_only(tmp_path, share, status):
    scores = iter([-100.0, -100.0 * (1 + share * ROUNDING)])
    rows = run(tmp_path, ("ours-avx2", "fast-ctc-decode"), score=lambda _: next(scores))
    assert rows["beam0/ours-avx2"].status == status


def test_wrong_labels_and_impossible_tasks_are_rows(tmp_path):
    def refuse(_):
        raise ValueError("not the text")

    row = run(tmp_path, ("ours-avx2",), score=refuse)["beam0/ours-avx2"]
    assert (row.status, row.reason) == ("failed", "wrong: not the text")
    align = replace(TASK, kind="align")
    row = run(tmp_path, ("ours-avx2",), tasks=[align])["beam0/ours-avx2"]
    assert (row.status, row.reason) == ("skipped", "aligns nothing")


def test_one_race_holds_several_cases(tmp_path):
    rows = run(tmp_path, ("ours-avx2",), tasks=[replace(TASK, beam_size=n) for n in (1, 80)])
    small, large = (rows[f"beam{number}/ours-avx2"].summary.median for number in (0, 1))
    assert large > small


@pytest.mark.parametrize(("shape", "low", "high"), [("peaky", 1, 2), ("diffuse", 20, 32)])
def test_posteriors_say_the_sentences_of_a_seed(shape, low, high):
    found = ctc.emission(shape, 2000, rows=2)
    assert (found.shape, found.dtype) == ((2, 2000, 32), np.float32)
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=2), 1, atol=1e-5)
    for seed, row in enumerate(found):
        labels = language.spoken(2000, seed=seed)
        assert collapse(row.argmax(axis=1)).tolist() == labels
        said = list(itertools.chain(*language.sentences(90, seed=seed)))
        assert spelled(labels) == said[: len(spelled(labels))]
    assert low < (found > -5).sum(axis=2).mean() < high


def test_repeats_have_their_blank_without_room_to_spare():
    labels = [5, 5, 6, 5]
    found = posteriors(labels, 5, 8, "peaky", seed=0)
    assert found.argmax(axis=1).tolist() == [5, BLANK, 5, 6, 5]
    with pytest.raises(ValueError, match="4 labels do not fit into 4 frames"):
        posteriors(labels, 4, 8, "peaky", seed=0)


def spelled(labels):
    return "".join(language.TOKENS[label] for label in labels).replace("|", " ").split()


def test_real_posteriors_need_a_bundle(tmp_path):
    with pytest.raises(Skipped, match="no bundle was given"):
        ctc.real_emission(make_context(tmp_path, ("ours-scalar",), bundle=None))


_CTC = importlib.import_module("mms_kernels._ctc")
KERNELS = next(f"ours-{isa}" for isa in ("avx2", "neon", "scalar") if isa in _CTC.isas())


@pytest.fixture
def create():
    """Return a function that creates a peer, and restore the kernels' instruction set."""
    before = _CTC.isa()

    def create(name):
        try:
            return DECODERS[name].create()[0]
        except Skipped as reason:
            pytest.skip(str(reason))

    yield create
    _CTC.use_isa(before)


def results(peer, task):
    ready = peer.ready(task)
    return [row.tolist() for row in ready.result(ready.call())]


ROWS = np.stack(
    [
        posteriors(language.spoken(120, seed=seed), 120, ctc.VOCAB, "peaky", seed=9)
        for seed in (3, 4)
    ]
)
LABELS = [language.spoken(120, seed=seed) for seed in (3, 4)]


@pytest.mark.parametrize(
    ("name", "kind", "cut"),
    [
        (KERNELS, "greedy", None),
        ("numpy", "greedy", None),
        ("fast-ctc-decode", "greedy", None),
        (KERNELS, "beam", None),
        (KERNELS, "beam", -5.0),
        ("fast-ctc-decode", "beam", None),
        ("fast-ctc-decode", "beam", -5.0),
        ("flashlight-text", "beam", None),
    ],
)
def test_decoders_find_what_was_said(create, name, kind, cut):
    task = Task(kind=kind, emission=ROWS, beam_size=20, token_min_logp=cut, tokens=language.TOKENS)
    assert results(create(name), task) == LABELS


def test_language_model_and_hotwords_change_the_result(create, tmp_path):
    said = language.sentences(1, seed=2)[0]
    model = tmp_path / "words.arpa"
    language.write_arpa(model, language.sentences(300, seed=2), order=3)
    ids = {token: number for number, token in enumerate(language.TOKENS)}
    labels = [ids[letter] for word in said for letter in (*word, "|")]
    row = posteriors(labels, 4 * len(labels), ctc.VOCAB, "peaky", seed=0)
    # One letter is just less likely than another.
    place = int(np.flatnonzero(row.argmax(axis=1) == labels[0])[0])
    row[place, labels[0]], row[place, ids["'"]] = np.log(0.3), np.log(0.6)
    plain = Task(kind="beam", emission=row[None], beam_size=20, tokens=language.TOKENS)
    phrases = (said[0], "never said")
    peer = create(KERNELS)
    for task, right in (
        (plain, False),
        (replace(plain, lm=model, lm_weight=1.0), True),
        (replace(plain, hotwords=phrases, hotword_weight=9.0), True),
    ):
        assert (spelled(results(peer, task)[0]) == list(said)) is right


@pytest.mark.parametrize("name", [KERNELS, "torchaudio"])
def test_aligners_return_the_best_path(create, name):
    targets = np.array(LABELS[0])
    task = Task(kind="align", emission=ROWS[:1], targets=targets)
    path = np.array(results(create(name), task)[0])
    assert np.array_equal(collapse(path), targets)
    expected = ROWS[0].max(axis=1).sum()
    assert ROWS[0, np.arange(len(path)), path].sum() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.startswith("ours")])
def test_peers_refuse_what_they_cannot_do(create, name):
    kind = "greedy" if name == "torchaudio" else "align"
    with pytest.raises(Skipped):
        create(name).ready(Task(kind=kind, emission=ROWS))


def test_missing_instruction_set_is_named():
    with pytest.raises(Skipped, match="no made-up"):
        replace(DECODERS["ours-avx2"], argument="made-up").create()
