"""Bundles that tests of several rooms share, each made once."""

from pathlib import Path

import pytest

from mms_export.cli import main as mms_export


def export(model: str, out: Path) -> Path:
    """Export a model in float32 and return the folder."""
    arguments = ["--model", model, "--out", str(out), "--quiet", "--jobs", "1"]
    mms_export.main([*arguments, "--precision", "fp32"], standalone_mode=False)
    return out


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
    arguments = ["--model", "demo-voice", "--out", str(out), "--quiet"]
    mms_export.main([*arguments, "--precision", "fp32,int8"], standalone_mode=False)
    return out
