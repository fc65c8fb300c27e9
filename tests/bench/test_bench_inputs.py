"""Clips and recordings, and the cache of exported graphs."""

import os

import numpy as np
import pytest
import soundfile

from bench.bench_samples import make_options
from engine_demo import DEMO
from mms_bench.peers.base import collapse
from mms_bench.peers.onnx import GRAPH, cached
from mms_bench.run.audio import Recording, clips, joined, read_recordings
from mms_engine.audio import SAMPLE_RATE


def test_clips_are_joined_repeated_and_normalised(tmp_path):
    ramp = np.linspace(-0.5, 0.5, SAMPLE_RATE // 4, dtype=np.float32)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, ramp, SAMPLE_RATE, subtype="FLOAT")
    rows = clips((tmp_path / "a.wav", tmp_path / "b.wav"), 1.0, 2)
    assert rows.shape == (2, SAMPLE_RATE)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert np.abs(rows.mean(axis=1)).max() < 1e-4
    assert np.abs(rows.var(axis=1) - 1).max() < 1e-3
    assert np.allclose(rows[0, : ramp.size], rows[0, 2 * ramp.size : 3 * ramp.size])
    assert np.argmin(rows[0]) == 0
    assert np.allclose(rows[0], rows[1]), "the second begins at the second file, which is equal"


def test_demo_has_recordings():
    found = read_recordings(DEMO / "clips" / "clips.tsv", ["eng", "rus"])
    assert {one.language for one in found} == {"eng", "rus"}
    assert all(one.text and one.seconds > 1 for one in found)


def test_recordings_of_a_language_are_joined_with_pauses():
    def clip(language, seconds, text):
        samples = np.full(round(seconds * SAMPLE_RATE), 0.5, np.float32)
        return Recording(samples, language, text)

    given = [clip("b", 2, "x"), clip("a", 3, "one"), clip("a", 3, "two"), clip("a", 1, "three")]
    found = joined(given, 7.0)
    expected = [("a", "one two"), ("a", "three"), ("b", "x")]
    assert [(one.language, one.text) for one in found] == expected
    speech = np.abs(found[0].samples) > 0.1
    assert speech.sum() == 6 * SAMPLE_RATE
    edges = np.flatnonzero(np.diff(speech.astype(int)))
    pauses = np.diff([-1, *edges, len(speech) - 1])[::2] / SAMPLE_RATE
    assert len(pauses) == 3
    assert np.all((pauses >= 0.5) & (pauses <= 1.5))
    assert np.array_equal(found[0].samples, joined(given, 7.0)[0].samples)


@pytest.fixture
def options(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_text("weights")
    return make_options(checkpoint, cache=tmp_path / "cache")


def build(options, text="graph", made_by=None):
    made = []

    def make(folder):
        made.append(folder)
        (folder / GRAPH).write_text(text)

    path = cached(options, "onnx", made_by or {"torch": "1"}, make)
    return path, len(made)


def test_graph_is_made_once_per_checkpoint_language_and_versions(options):
    path, made = build(options)
    assert (path.read_text(), made) == ("graph", 1)
    assert build(options, "another") == (path, 0)
    assert path.read_text() == "graph"
    assert build(options, made_by={"torch": "2"})[0] != path
    other = make_options(options.checkpoint, cache=options.cache, languages=("swh",))
    assert build(other)[0] != path
    os.utime(options.checkpoint / "model.safetensors", ns=(1, 1))
    assert build(options)[0] != path


def test_killed_build_is_not_used(options):
    def killed(folder):
        (folder / GRAPH).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(options, "onnx", {"torch": "1"}, killed)
    path, made = build(options)
    assert (path.read_text(), made) == ("graph", 1)


@pytest.mark.parametrize(
    ("path", "labels"),
    [([], []), ([0, 0], []), ([1, 1, 0, 1, 2, 2], [1, 1, 2]), ([0, 2, 2, 0], [2])],
)
def test_collapse_merges_repeats_and_removes_blanks(path, labels):
    assert collapse(path).tolist() == labels
