"""The table of peers, and the cache of what they build."""

import importlib
import os
import pkgutil

import pytest

from bench.bench_samples import make_setup
from mms_bench import peers
from mms_bench.errors import NotHere
from mms_bench.peers.base import Batch, SwitchesLanguage, single_language
from mms_bench.peers.installed import versions
from mms_bench.peers.onnx import GRAPH, cached
from mms_bench.report.text import title


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


def test_a_graph_is_made_once(setup):
    path, made = build(setup)
    assert (path.read_text(), made) == ("graph", 1)
    assert build(setup, "another") == (path, 0)
    assert path.read_text() == "graph"


def test_other_versions_weights_or_languages_make_another(setup, tmp_path):
    first, _ = build(setup)
    checkpoint = tmp_path / "checkpoint"
    assert build(setup, made_by={"torch": "2"})[0] != first
    os.utime(checkpoint / "adapter.swh.safetensors", ns=(1, 1))
    assert build(setup)[0] == first, "the language that is not baked in does not matter"
    assert build(make_setup(checkpoint, ("swh", "eng")))[0] != first
    os.utime(checkpoint / "model.safetensors", ns=(1, 1))
    assert build(setup)[0] != first


def test_what_a_killed_build_left_is_not_used(setup):
    def killed(folder):
        (folder / GRAPH).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(setup, "onnx", {"torch": "1"}, killed)
    path, made = build(setup)
    assert (path.read_text(), made) == ("graph", 1)


def test_a_package_that_is_missing_is_named():
    with pytest.raises(NotHere, match=r"^no-such-package is not installed$"):
        versions("numpy", "no-such-package")


def test_a_batch_of_two_languages_is_not_one():
    assert single_language(Batch(None, ("eng", "eng"))) == "eng"
    with pytest.raises(NotHere, match="one language at a time"):
        single_language(Batch(None, ("eng", "swh")))


@pytest.mark.parametrize("name", peers.PEERS)
def test_every_peer_has_its_name_a_title_and_the_protocol(name):
    peer = peers.create_peer(name)
    assert peer.name == name
    assert title(name) != name
    for method in ("version", "build", "prepare", "run"):
        assert callable(getattr(peer, method))
    assert isinstance(peer, SwitchesLanguage) == name.startswith(("ours", "transformers"))
    assert peers.holds_many(name) == name.startswith("ours")


def test_no_peer_is_imported_with_the_package():
    for module in pkgutil.iter_modules(peers.__path__):
        imported = importlib.import_module(f"mms_bench.peers.{module.name}")
        assert not {"torch", "transformers", "onnxruntime", "openvino"} & set(vars(imported))
