"""An aligner of the demo's bundle, and its clips."""

from pathlib import Path

import pytest

from align_speech import Speech, demo_speech
from mms_engine.align.aligner import Aligner


@pytest.fixture(scope="session")
def aligner(demo_bundle: Path) -> Aligner:
    return Aligner.open(demo_bundle, threads=2)


@pytest.fixture(scope="session")
def speech() -> dict[str, list[Speech]]:
    """The demo's clips by language."""
    return demo_speech()
