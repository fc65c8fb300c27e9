"""Bundles for the tests of the engine: a random tiny one and the demo's, each exported once."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from exporting import export
from mms_engine import BeamSearch, Recognizer
from mms_engine.bundle import verification
from tiny_models import make_tiny, make_tiny_lid, make_tiny_pretrained
from tiny_voices import make_tiny_voices

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that finds much to say in any noise, with heads drawn until they did."""
    checkpoint = make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")
    for language, seed in {"eng": 93, "swh": 268, "uzb-script_latin": 226}.items():
        adapter = checkpoint / f"adapter.{language}.safetensors"
        tensors = load_file(adapter)
        random = np.random.default_rng(seed)
        weight, bias = tensors["lm_head.weight"], tensors["lm_head.bias"]
        tensors["lm_head.weight"] = random.normal(0, 0.5, weight.shape).astype(np.float32)
        tensors["lm_head.bias"] = random.normal(0, 0.1, bias.shape).astype(np.float32)
        save_file(tensors, adapter)
    return checkpoint


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in eng, swh and uzb-script_latin, fp32 and fp16. Not to be written to."""
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return export(tiny_checkpoint, out, "--precision", "fp32,fp16")


@pytest.fixture(scope="session")
def exact_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with its adapters in float32, so that nothing is rounded."""
    out = tmp_path_factory.mktemp("bundle") / "exact"
    return export(tiny_checkpoint, out, "--adapter-dtype", "float32")


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Path) -> Recognizer:
    return Recognizer.open(tiny_bundle, threads=2)


@pytest.fixture(scope="session", params=[None, BeamSearch()], ids=["greedy", "beam"])
def beam(request: pytest.FixtureRequest) -> BeamSearch | None:
    """Each decoder."""
    return request.param


@pytest.fixture(scope="session")
def either(tiny_bundle: Path, beam: BeamSearch | None) -> Recognizer:
    """The tiny model with each decoder."""
    return Recognizer.open(tiny_bundle, threads=2, beam=beam)


@pytest.fixture(scope="session")
def speech_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random voices. Not to be written to."""
    folder = make_tiny_voices(tmp_path_factory.mktemp("voices"), ["eng", "swh"])
    return export(folder, tmp_path_factory.mktemp("bundle") / "speech")


@pytest.fixture(scope="session")
def lid_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of language identification, fp32. Not to be written to."""
    checkpoint = make_tiny_lid(tmp_path_factory.mktemp("checkpoint") / "tiny-lid")
    out = tmp_path_factory.mktemp("bundle") / "lid"
    return export(checkpoint, out)


@pytest.fixture(scope="session")
def pretrained_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network without a head, fp32. Not to be written to."""
    checkpoint = make_tiny_pretrained(tmp_path_factory.mktemp("checkpoint") / "tiny-pretrained")
    out = tmp_path_factory.mktemp("bundle") / "pretrained"
    return export(checkpoint, out)


@pytest.fixture
def names_given(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str], list[str]]:
    """Function that records the names of the files that a function is called with from now on.

    Takes the module and the name of the function, whose first argument is a path.
    """

    def record(module: object, function: str) -> list[str]:
        names: list[str] = []
        real = getattr(module, function)

        def recording(path: Path, *arguments: object) -> object:
            names.append(path.name)
            return real(path, *arguments)

        monkeypatch.setattr(module, function, recording)
        return names

    return record


@pytest.fixture
def hashed(names_given: Callable[[object, str], list[str]]) -> list[str]:
    """Names of the files that are hashed from now on."""
    return names_given(verification, "digest")


@pytest.fixture(scope="session")
def demo(demo_bundle: Path) -> Recognizer:
    return Recognizer.open(demo_bundle, threads=2)


@pytest.fixture(autouse=True)
def no_bundle_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the commands from finding a bundle, stamps or packed weights of this machine."""
    monkeypatch.delenv("MMS_BUNDLE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
