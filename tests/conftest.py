"""Bundles that tests of several rooms share, each made once."""

from pathlib import Path

import pytest

from exporting import export


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model of recognition. Not to be written to."""
    return export("demo", tmp_path_factory.mktemp("bundle") / "demo")


@pytest.fixture(scope="session")
def demo_lid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model of language identification. Not to be written to."""
    return export("demo-lid", tmp_path_factory.mktemp("bundle") / "demo-lid")


@pytest.fixture(scope="session")
def demo_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo voice in float32 and int8, weights in float16. Not to be written to."""
    out = tmp_path_factory.mktemp("bundle") / "demo-voice"
    return export("demo-voice", out, "--precision", "fp32,int8")
