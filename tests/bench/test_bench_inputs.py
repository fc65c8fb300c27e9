"""Clips and recordings, the description of a checkpoint, and the cache of exported graphs."""

import importlib
import os
import pkgutil

import numpy as np
import pytest
import soundfile

from bench.bench_samples import make_setup
from engine_demo import DEMO
from mms_bench import peers
from mms_bench.errors import BenchError, Skipped
from mms_bench.peers.base import Batch, single_language
from mms_bench.peers.onnx import GRAPH, cached
from mms_bench.run.audio import Recording, clips, joined, read_recordings
from mms_bench.run.session import describe_model
from mms_engine.audio import SAMPLE_RATE
from mms_export.parity import SPEECH
from tiny_models import LANGUAGES, make_tiny


def assert_normalised(rows):
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert np.abs(rows.mean(axis=1)).max() < 1e-4
    assert np.abs(rows.var(axis=1) - 1).max() < 1e-3


def test_clips_differ_and_may_be_longer_than_the_speech():
    rows = clips((SPEECH,), 2.0, 3)
    assert rows.shape == (3, 2 * SAMPLE_RATE)
    assert_normalised(rows)
    assert np.abs(rows[0] - rows[1]).max() > 1
    assert clips((SPEECH,), 25.0, 1).shape == (1, 25 * SAMPLE_RATE)


def test_files_are_joined_and_repeated(tmp_path):
    ramp = np.linspace(-0.5, 0.5, SAMPLE_RATE // 4, dtype=np.float32)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, ramp, SAMPLE_RATE, subtype="FLOAT")
    rows = clips((tmp_path / "a.wav", tmp_path / "b.wav"), 1.0, 2)
    assert_normalised(rows)
    assert np.allclose(rows[0, : ramp.size], rows[0, 2 * ramp.size : 3 * ramp.size])
    assert np.argmin(rows[0]) == 0
    assert np.allclose(rows[0], rows[1]), "the second begins at the second file, which is equal"


def clip(language, seconds, text):
    samples = np.full(round(seconds * SAMPLE_RATE), 0.5, np.float32)
    return Recording(samples, language, text)


def test_demo_has_recordings():
    found = read_recordings(DEMO / "clips" / "clips.tsv", ["eng", "rus"])
    assert {one.language for one in found} == {"eng", "rus"}
    assert all(one.text and one.seconds > 1 for one in found)


def test_recordings_of_a_language_are_joined_with_pauses():
    given = [clip("b", 2, "x"), clip("a", 3, "one"), clip("a", 3, "two"), clip("a", 1, "three")]
    found = joined(given, 5.0)
    expected = [("a", "one two"), ("a", "three"), ("b", "x")]
    assert [(one.language, one.text) for one in found] == expected
    speech = np.abs(found[0].samples) > 0.1
    assert speech.sum() == 6 * SAMPLE_RATE
    edges = np.flatnonzero(np.diff(speech.astype(int)))
    pauses = np.diff([-1, *edges, len(speech) - 1])[::2] / SAMPLE_RATE
    assert len(pauses) == 3
    assert np.all((pauses >= 0.5) & (pauses <= 1.5))
    assert np.array_equal(found[0].samples, joined(given, 5.0)[0].samples)


@pytest.mark.parametrize("content", ["", "file\tlang\nx.wav\teng\n"])
def test_list_without_the_columns_is_refused(tmp_path, content):
    table = tmp_path / "list.tsv"
    table.write_text(content)
    with pytest.raises(BenchError, match="columns file, lang and text"):
        read_recordings(table, ["eng"])
    with pytest.raises(BenchError, match="cannot read the recordings"):
        read_recordings(tmp_path / "none.tsv", ["eng"])


def test_model_is_described_from_its_files(tmp_path):
    model = describe_model(make_tiny(tmp_path / "tiny"), "tiny")
    assert model.languages == len(LANGUAGES)
    assert 10_000 < model.parameters < 1_000_000
    assert not model.full_size
    with pytest.raises(BenchError, match=r"holds no model.safetensors: check --checkpoint"):
        describe_model(tmp_path, "x")


@pytest.fixture
def setup(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for name in ("model.safetensors", "adapter.eng.safetensors", "adapter.swh.safetensors"):
        (checkpoint / name).write_text(name)
    return make_setup(checkpoint)


def build(setup, text="graph", made_by=None):
    made = []

    def make(folder):
        made.append(folder)
        (folder / GRAPH).write_text(text)

    path = cached(setup, "onnx", made_by or {"torch": "1"}, make)
    return path, len(made)


def test_graph_is_made_once(setup):
    path, made = build(setup)
    assert (path.read_text(), made) == ("graph", 1)
    assert build(setup, "another") == (path, 0)
    assert path.read_text() == "graph"


def test_other_versions_weights_or_languages_make_another_graph(setup):
    first, _ = build(setup)
    assert build(setup, made_by={"torch": "2"})[0] != first
    os.utime(setup.checkpoint / "adapter.swh.safetensors", ns=(1, 1))
    assert build(setup)[0] == first, "the language that is not baked in does not matter"
    assert build(make_setup(setup.checkpoint, ("swh", "eng")))[0] != first
    os.utime(setup.checkpoint / "model.safetensors", ns=(1, 1))
    assert build(setup)[0] != first


def test_killed_build_is_not_used(setup):
    def killed(folder):
        (folder / GRAPH).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(setup, "onnx", {"torch": "1"}, killed)
    path, made = build(setup)
    assert (path.read_text(), made) == ("graph", 1)


def test_batch_of_two_languages_is_not_single():
    assert single_language(Batch(None, ("eng", "eng"))) == "eng"
    with pytest.raises(Skipped, match="one language at a time"):
        single_language(Batch(None, ("eng", "swh")))


def test_no_peer_is_imported_with_the_package():
    for module in pkgutil.iter_modules(peers.__path__):
        imported = importlib.import_module(f"mms_bench.peers.{module.name}")
        assert not {"torch", "transformers", "onnxruntime", "openvino"} & set(vars(imported))
