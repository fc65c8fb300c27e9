"""Bundles that tests of several rooms share, each made once."""

from pathlib import Path

import pytest

from mms_export.cli import main as mms_export


@pytest.fixture(scope="session")
def demo_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo voice in float32 and int8, weights in float16. Not to be written to."""
    out = tmp_path_factory.mktemp("bundle") / "demo-voice"
    arguments = ["--model", "demo-voice", "--out", str(out), "--quiet"]
    mms_export.main([*arguments, "--precision", "fp32,int8"], standalone_mode=False)
    return out
