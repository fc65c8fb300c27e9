"""The suite `ctc`: contests of stub decoders, scores, generated inputs and real decoders."""

import importlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.bench_samples import by_name, make_context
from bench.stub_peers import TABLE
from mms_bench.errors import Skipped
from mms_bench.peers import DECODERS
from mms_bench.peers.base import Task, collapse
from mms_bench.run.result import Case
from mms_bench.suites import ctc
from mms_bench.suites.ctc import language
from mms_bench.suites.ctc.contest import ROUNDING, Contest, compete, quality, start_workers
from mms_bench.suites.ctc.posteriors import posteriors
from mms_bench.suites.ctc.scoring import labelling_log_prob, path_log_prob
from mms_engine.text.vocabulary import BLANK

CASE = Case(name="beam", title="Beam", timing="Timed: x.", unit="frames", each="frame")
ALL = ("ours-avx2", "ours-avx512", "fast-ctc-decode", "numpy", "torchaudio")
EMISSION = np.stack([posteriors([1, 2, 3, 3], 20, 5, "peaky", seed=seed) for seed in (0, 1)])
TASK = Task(kind="beam", emission=EMISSION, beam_size=2)


def run(folder, peers, *changes):
    context = make_context(folder, peers, table=TABLE)
    fields = {"case": CASE, "task": TASK, "peers": peers, "amount": 40.0}
    fields["score"] = ctc.log_prob_score(EMISSION)
    with start_workers(context, peers) as workers:
        contests = [Contest(**(fields | change)) for change in changes or ({},)]
        return by_name(compete(context, workers, contests))


def test_peers_are_scored_before_they_are_timed(tmp_path):
    rows = run(tmp_path, ALL)
    assert rows["beam", "torchaudio"].status == "skipped"
    ours, peer, dull = (rows["beam", name] for name in ("ours-avx2", "fast-ctc-decode", "numpy"))
    assert ours.status == peer.status == dull.status == "ok"
    assert ours.score == peer.score > dull.score
    assert ours.summary.median >= 0.002
    assert ours.amount == 40.0
    assert ours.peak_memory is None


def test_ours_is_not_timed_where_a_peer_finds_more(tmp_path):
    rows = run(tmp_path, ALL)
    worse = rows["beam", "ours-avx512"]
    assert worse.status == "failed"
    assert worse.summary is None
    assert worse.reason.startswith("worse: its results score -")
    score = rows["beam", "fast-ctc-decode"].score
    assert worse.reason.endswith(f"fast-ctc-decode's {score:.6f}")
    # Beside one that finds as little it is timed.
    assert run(tmp_path, ("ours-avx512", "numpy"))["beam", "ours-avx512"].status == "ok"


@pytest.mark.parametrize(("share", "status"), [(0.9, "ok"), (1.1, "failed")])
def test_scores_may_differ_by_rounding_only(tmp_path, share, status):
    scores = iter([-100.0 * (1 + share * ROUNDING), -100.0])
    peers = ("ours-avx2", "fast-ctc-decode")
    rows = run(tmp_path, peers, {"score": lambda _: next(scores)})
    assert rows["beam", "ours-avx2"].status == status


@pytest.mark.parametrize(("ours", "status"), [(-5.0, "ok"), (-5.1, "failed")])
def test_quality_decides_in_place_of_the_timed_score(tmp_path, ours, status):
    scores = iter([-9.0, -1.0])
    change = {
        "score": lambda _: next(scores),
        "quality": {"ours-avx2": ours, "fast-ctc-decode": -5.0},
    }
    row = run(tmp_path, ("ours-avx2", "fast-ctc-decode"), change)["beam", "ours-avx2"]
    assert (row.status, row.score) == (status, -9.0)


def test_quality_is_the_sum_over_tasks(tmp_path):
    context = make_context(tmp_path, ("ours-avx2", "torchaudio"), table=TABLE)
    tasks = [(TASK, lambda labels: float(len(labels))), (TASK, lambda _: 0.5)]
    with start_workers(context, ALL) as workers:
        assert quality(workers, tasks) == {"ours-avx2": 2.5}


def test_wrong_labels_and_impossible_tasks_are_rows(tmp_path):
    def refuse(_):
        raise ValueError("not the text")

    row = run(tmp_path, ("ours-avx2",), {"score": refuse})["beam", "ours-avx2"]
    assert (row.status, row.reason) == ("failed", "wrong: not the text")
    align = {"task": replace(TASK, kind="align")}
    row = run(tmp_path, ("ours-avx2",), align)["beam", "ours-avx2"]
    assert (row.status, row.reason) == ("skipped", "aligns nothing")


def test_one_race_holds_several_cases(tmp_path):
    small, large = (
        {"case": replace(CASE, name=name), "task": replace(TASK, beam_size=size)}
        for name, size in (("small", 1), ("large", 80))
    )
    rows = run(tmp_path, ("ours-avx2",), small, large)
    large, small = (rows[name, "ours-avx2"].summary.median for name in ("large", "small"))
    assert large > small


def by_enumeration(log_probs):
    """Return the probability of each labelling: that of all its paths, one by one."""
    frames, vocab = log_probs.shape
    found = {}
    for path in itertools.product(range(vocab), repeat=frames):
        labels = tuple(key for key, _ in itertools.groupby(path) if key)
        probability = np.exp(log_probs[np.arange(frames), path].astype(np.float64).sum())
        found[labels] = found.get(labels, 0.0) + probability
    return found


@pytest.mark.parametrize(
    ("frames", "vocab"), [(0, 3), (1, 2), (1, 4), (2, 3), (4, 3), (5, 4), (6, 2)]
)
def test_forward_sum_is_the_sum_of_all_paths(frames, vocab):
    random = np.random.default_rng(frames + 10 * vocab)
    log_probs = ctc.log_softmax(random.normal(0, 2, (frames, vocab)))
    found = by_enumeration(log_probs)
    for labels, probability in found.items():
        expected = pytest.approx(np.log(probability), abs=1e-9)
        assert labelling_log_prob(log_probs, labels) == expected
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)
    for size in range(frames + 2):
        for labels in itertools.product(range(1, vocab), repeat=size):
            fits = np.isfinite(labelling_log_prob(log_probs, labels))
            assert fits == (labels in found), "repeats need a blank"


def test_path_score_is_the_sum_of_its_frames():
    log_probs = EMISSION[0][:4]
    path, targets = np.array([1, 1, 0, 2]), np.array([1, 2])
    expected = sum(float(log_probs[frame, label]) for frame, label in enumerate(path))
    assert path_log_prob(log_probs, path, targets) == pytest.approx(expected)
    for wrong in (np.array([1, 0, 1, 2]), np.array([1, 0, 2])):
        with pytest.raises(ValueError, match="not the targets"):
            path_log_prob(log_probs, wrong, targets)


@pytest.mark.parametrize(
    ("path", "labels"),
    [([], []), ([0, 0], []), ([1, 1, 0, 1, 2, 2], [1, 1, 2]), ([0, 2, 2, 0], [2])],
)
def test_collapse(path, labels):
    assert collapse(path).tolist() == labels


@pytest.mark.parametrize("shape", ctc.SHAPES)
@pytest.mark.parametrize("vocab", [32, 1000])
def test_posteriors_are_log_probabilities_from_a_seed(shape, vocab):
    found = ctc.emission(shape, 400, vocab=vocab, rows=2)
    assert (found.shape, found.dtype) == ((2, 400, vocab), np.float32)
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=2), 1, atol=1e-5)
    assert np.array_equal(found, ctc.emission(shape, 400, vocab=vocab, rows=2))
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize(("shape", "low", "high"), [("peaky", 1, 2), ("diffuse", 20, 32)])
def test_best_path_is_what_was_said_and_diffuse_has_more_close_tokens(shape, low, high):
    labels = language.spoken(2000, seed=0)
    found = posteriors(labels, 2000, len(language.TOKENS), shape, seed=0)
    assert collapse(found.argmax(axis=1)).tolist() == labels
    assert low < (found > -5).sum(axis=1).mean() < high


def test_repeats_have_their_blank_without_room_to_spare():
    labels = [5, 5, 6, 5]
    found = posteriors(labels, 5, 8, "peaky", seed=0)
    assert found.argmax(axis=1).tolist() == [5, BLANK, 5, 6, 5]
    with pytest.raises(ValueError, match="4 labels do not fit into 4 frames"):
        posteriors(labels, 4, 8, "peaky", seed=0)
    assert not posteriors([], 10, 8, "peaky", seed=0).argmax(axis=1).any()


def spelled(labels):
    return "".join(language.TOKENS[label] for label in labels).replace("|", " ").split()


def test_language_is_the_same_for_every_seed():
    first, second = (language.sentences(300, seed=seed) for seed in (1, 2))
    assert first != second
    assert first == language.sentences(300, seed=1)
    pairs = [set(itertools.chain(*map(itertools.pairwise, said))) for said in (first, second)]
    assert len(pairs[0] & pairs[1]) > 0.2 * len(pairs[0])
    words = spelled(language.spoken(4000, seed=5))
    assert words == list(itertools.chain(*language.sentences(90, seed=5)))[: len(words)]
    assert set(words) <= set(language.vocabulary())
    phrases = language.phrases(1000, seed=0)
    assert len(set(phrases)) == len(phrases) == 1000
    assert {len(phrase.split()) for phrase in phrases} == {1, 2, 3}


@pytest.fixture(scope="module")
def arpa(tmp_path_factory):
    path = tmp_path_factory.mktemp("arpa") / "words.arpa"
    language.write_arpa(path, language.sentences(200, seed=0), order=3)
    return path


def test_arpa_header_counts_the_n_grams(arpa):
    text = arpa.read_text()
    for n in (1, 2, 3):
        _, _, block = text.partition(f"\\{n}-grams:\n")
        lines = block.partition("\n\n")[0].splitlines()
        assert f"ngram {n}={len(lines)}\n" in text
        assert all(len(line.split("\t")[1].split(" ")) == n for line in lines)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_probabilities_after_a_history_add_up_to_one(arpa, length):
    from mms_kernels import open_lm

    model = open_lm(arpa)
    said = language.sentences(200, seed=0)
    history = said[1][:length]
    words = {word for sentence in said for word in sentence}
    total = sum(
        10 ** (model.score([*history, word], eos=False) - model.score(history, eos=False))
        for word in words
    )
    end = 10 ** (model.score(history) - model.score(history, eos=False))
    assert total + end == pytest.approx(1, abs=1e-3), "less the unknown word"


def test_kenlm_reads_the_model_alike(arpa):
    from mms_kernels import open_lm

    kenlm = pytest.importorskip("kenlm").Model(str(arpa))
    model = open_lm(arpa)
    for words in (*language.sentences(30, seed=9), ("zzz",), ()):
        assert kenlm.score(" ".join(words)) == pytest.approx(model.score(words), abs=1e-4)


def test_real_posteriors_need_a_bundle(tmp_path):
    context = make_context(tmp_path, ("ours-scalar",))
    context = replace(context, setup=replace(context.setup, bundle=None))
    with pytest.raises(Skipped, match="mms-export --model demo"):
        ctc.real_emission(context)


def test_clips_of_the_demo_follow_the_default_audio(tmp_path):
    folder = tmp_path / "checkpoint"
    context = make_context(folder, ("ours-scalar",))
    (tmp_path / "clips").mkdir()
    for name in ("fra_b.flac", "eng_c.flac", "eng_a.flac"):
        (tmp_path / "clips" / name).touch()
    names = [file.name for file in ctc._clips(context)]
    assert names == ["speech.flac", "eng_a.flac", "eng_c.flac", "fra_b.flac"]
    own = replace(context, options=replace(context.options, audio=(tmp_path / "own.flac",)))
    assert ctc._clips(own) == [tmp_path / "own.flac"]


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
    other = ids["z"] if said[0][0] != "z" else ids["q"]
    row[place, labels[0]], row[place, other] = np.log(0.3), np.log(0.6)
    plain = Task(
        kind="beam",
        emission=row[None],
        beam_size=20,
        token_min_logp=-5.0,
        tokens=language.TOKENS,
    )
    tasks = {
        "plain": plain,
        "lm": replace(plain, lm=model, lm_weight=1.0),
        "hotwords": replace(plain, hotwords=(said[0], "never said"), hotword_weight=9.0),
    }
    peer = create(KERNELS)
    found = {kind: spelled(results(peer, task)[0]) for kind, task in tasks.items()}
    assert found["plain"][0] != said[0]
    assert found["lm"] == found["hotwords"] == list(said)


@pytest.mark.parametrize("name", [KERNELS, "torchaudio"])
def test_aligners_return_the_best_path(create, name):
    targets = np.array(LABELS[0])
    task = Task(kind="align", emission=ROWS[:1], targets=targets)
    path = np.array(results(create(name), task)[0])
    expected = ROWS[0].max(axis=1).sum()
    assert path_log_prob(ROWS[0], path, targets) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.startswith("ours")])
def test_peers_refuse_what_they_cannot_do(create, name):
    kind = "greedy" if name == "torchaudio" else "align"
    with pytest.raises(Skipped):
        create(name).ready(Task(kind=kind, emission=ROWS))


def test_missing_instruction_set_is_named():
    with pytest.raises(Skipped, match="no made-up"):
        replace(DECODERS["ours-avx2"], argument="made-up").create()
