"""The demo's bundle, and its clips."""

from pathlib import Path

import pytest

from align_speech import Speech, demo_speech
from mms_engine.align.aligner import Aligner
from mms_export.cli import main as mms_export


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo checkpoint of the repository, fp32. Not to be written to."""
    out = tmp_path_factory.mktemp("bundle") / "demo"
    arguments = ["--model", "demo", "--out", str(out), "--quiet", "--precision", "fp32"]
    mms_export.main(arguments, standalone_mode=False)
    return out


@pytest.fixture(scope="session")
def aligner(demo_bundle: Path) -> Aligner:
    return Aligner.open(demo_bundle, threads=2)


@pytest.fixture(scope="session")
def speech() -> dict[str, list[Speech]]:
    """The demo's clips by language."""
    return demo_speech()
