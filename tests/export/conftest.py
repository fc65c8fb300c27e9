"""A tiny checkpoint and its bundle, made once."""

from pathlib import Path

import pytest

from export_runs import run_export
from tiny_models import make_tiny
from tiny_voices import CODES, PRECISIONS, make_tiny_voices


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "tiny-mms")


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    run_export(checkpoint, out, precisions=("fp32", "fp16", "bf16", "int8"))
    return out


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voices of equal sizes."""
    return make_tiny_voices(tmp_path_factory.mktemp("tiny") / "mms-tts", CODES)


@pytest.fixture(scope="session")
def voices_bundle(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of `voices`."""
    out = tmp_path_factory.mktemp("bundle") / "tts"
    run_export(voices, out, precisions=PRECISIONS, data_dtype="float32")
    return out
