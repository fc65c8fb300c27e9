"""Each decoder on posteriors so small that the best labelling is known."""

import importlib
import itertools

import numpy as np
import pytest

from mms_bench import peers
from mms_bench.ctc import arpa
from mms_bench.ctc.posteriors import BOUNDARY, TOKENS, posteriors
from mms_bench.ctc.scores import collapse, labelling_log_prob, path_log_prob
from mms_bench.ctc.sentences import sentences, spoken, words_of, write_phrases
from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.report.text import title

FRAMES = 120
KERNELS = next(
    name
    for name in ("ours-avx2", "ours-neon", "ours-scalar")
    if name.removeprefix("ours-") in importlib.import_module("mms_kernels._ctc").isas()
)


@pytest.fixture(autouse=True)
def same_isa():
    """Leave the kernels on the instruction set they were on."""
    kernels = importlib.import_module("mms_kernels._ctc")
    before = kernels.isa()
    yield
    kernels.use_isa(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ctc")


@pytest.fixture(scope="module")
def spoken_rows():
    labels = [spoken(FRAMES, seed=seed) for seed in (3, 4)]
    rows = [posteriors(row, FRAMES, len(TOKENS), "peaky", seed=9) for row in labels]
    return np.stack(rows), labels


def installed(name):
    decoder = peers.create_peer(name)
    try:
        versions = decoder.version()
    except NotHere as reason:
        pytest.skip(f"{name} {reason}")
    assert all(versions.values())
    return decoder


def save(folder, rows, name="rows"):
    np.save(folder / f"{name}.npy", rows)
    return str(folder / f"{name}.npy")


def results(decoder, task):
    ready = decoder.ready(task)
    if ready.before is not None:
        ready.before()
    found = ready.labels(ready.call())
    again = ready.labels(ready.call())
    assert all(map(np.array_equal, found, again)), "a second call gives the same"
    return found


@pytest.mark.parametrize("name", peers.DECODERS)
def test_every_decoder_has_its_name_and_a_title(name):
    decoder = peers.create_peer(name)
    assert decoder.name == name
    assert title(name)


@pytest.mark.parametrize("name", [KERNELS, "numpy", "fast-ctc-decode"])
def test_greedy(name, folder, spoken_rows):
    rows, labels = spoken_rows
    found = results(installed(name), Task(kind="greedy", emission=save(folder, rows)))
    assert [row.tolist() for row in found] == labels
    noisy = np.log(np.random.default_rng(0).dirichlet(np.ones(6), (1, 50))).astype(np.float32)
    (row,) = results(installed(name), Task(kind="greedy", emission=save(folder, noisy)))
    assert np.array_equal(row, collapse(noisy[0].argmax(axis=1)))


def best_labelling(row):
    """Try every labelling of at most as many labels as frames."""
    frames, vocab = row.shape
    tried = (
        labels
        for length in range(frames + 1)
        for labels in itertools.product(range(1, vocab), repeat=length)
    )
    return max(tried, key=lambda labels: labelling_log_prob(row, labels))


@pytest.mark.parametrize("name", [KERNELS, "fast-ctc-decode", "flashlight-text"])
def test_a_wide_beam_finds_the_best_labelling(name, folder):
    random = np.random.default_rng(1)
    rows = np.log(random.dirichlet(np.ones(3), (8, 5))).astype(np.float32)
    task = Task(kind="beam", emission=save(folder, rows), beam_size=200)
    found = results(installed(name), task)
    assert [tuple(row) for row in found] == [best_labelling(row) for row in rows]


@pytest.mark.parametrize("name", [KERNELS, "fast-ctc-decode", "pyctcdecode"])
def test_a_token_cut(name, folder, spoken_rows):
    rows, labels = spoken_rows
    task = Task(kind="beam", emission=save(folder, rows), beam_size=16, token_min_logp=-5.0)
    found = results(installed(name), task)
    # pyctcdecode's text has no boundary at its end.
    assert [words_of(row) for row in found] == [words_of(row) for row in labels]


@pytest.mark.parametrize("name", [KERNELS, "pyctcdecode"])
def test_a_language_model_and_hotwords_change_what_is_heard(name, folder):
    said = sentences(1, seed=2)[0]
    model = folder / "words.arpa"
    arpa.write(model, sentences(300, seed=2), order=3)
    ids = {token: number for number, token in enumerate(TOKENS)}
    labels = [label for word in said for label in (*(ids[letter] for letter in word), BOUNDARY)]
    row = posteriors(labels, 4 * len(labels), len(TOKENS), "peaky", seed=0)
    # One letter is heard as another, just about.
    place = int(np.flatnonzero(row.argmax(axis=1) == labels[0])[0])
    other = ids["z"] if said[0][0] != "z" else ids["q"]
    row[place, labels[0]], row[place, other] = np.log(0.3), np.log(0.6)
    plain = Task(kind="beam", emission=save(folder, row[None]), beam_size=20, token_min_logp=-5.0)
    decoder = installed(name)
    heard = {
        "plain": results(decoder, plain)[0],
        "lm": results(decoder, with_(plain, lm=str(model), lm_weight=1.0))[0],
        "closed": results(decoder, with_(plain, lm=str(model), lm_weight=1.0, closed=True))[0],
        "hot": results(decoder, with_(plain, hotwords=phrases(folder, said), hotword_weight=9.0))[
            0
        ],
    }
    assert words_of(heard["plain"])[0] != said[0]
    assert words_of(heard["lm"]) == words_of(heard["hot"]) == list(said)
    assert words_of(heard["closed"]) == list(said)


def with_(task, **changes):
    from dataclasses import replace

    return replace(task, **changes)


def phrases(folder, said):
    path = folder / "phrases.txt"
    path.write_text(f"{said[0]}\nnever said\n")
    return str(path)


@pytest.mark.parametrize("name", [KERNELS, "torchaudio"])
def test_alignment(name, folder, spoken_rows):
    rows, labels = spoken_rows
    targets = np.array(labels[0], np.int32)
    np.save(folder / "targets.npy", targets)
    emission = save(folder, rows[:1])
    task = Task(kind="align", emission=emission, targets=str(folder / "targets.npy"))
    (path,) = results(installed(name), task)
    assert path_log_prob(rows[0], path, targets) == pytest.approx(
        rows[0].max(axis=1).sum(), abs=1e-3
    )
    if name == KERNELS:
        (bounded,) = results(peers.create_peer(name), with_(task, memory=10_000_000))
        assert np.array_equal(bounded, path)


def test_a_stream_of_any_age_goes_on(folder, spoken_rows):
    rows, _ = spoken_rows
    for age in (FRAMES, 20 * FRAMES):
        task = Task(kind="stream", emission=save(folder, rows[:1]), beam_size=8, age=age)
        ready = installed(KERNELS).ready(task)
        for _ in range(3):
            if ready.before is not None:
                ready.before()
            ready.call()
        assert ready.labels(None) == []


@pytest.mark.parametrize("name", [name for name in peers.DECODERS if not name.startswith("ours")])
def test_what_a_peer_cannot_do_it_says(name, folder, spoken_rows):
    emission = save(folder, spoken_rows[0])
    task = Task(kind="stream", emission=emission, beam_size=8)
    with pytest.raises(NotHere):
        installed(name).ready(task)
    with pytest.raises(NotHere):
        installed(name).ready(with_(task, kind="beam", threads=2))


def test_an_instruction_set_that_is_not_there_is_said(monkeypatch):
    with pytest.raises(NotHere, match="no made-up"):
        peers.DECODERS["ours-avx2"]().__class__("made-up").version()


def test_phrases_file_is_what_the_kernels_read(folder):
    from mms_kernels.hotwords import read_hotwords

    write_phrases(folder / "many.txt", 50, seed=0)
    assert len(read_hotwords(folder / "many.txt", weight=4.0)) == 50
