"""A tiny random model of language identification and its bundle, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mms_engine import Identifier, IdentifierOptions
from mms_export.cli import main as mms_export
from tiny_models import make_tiny_lid

ANY = IdentifierOptions(min_logit=float("-inf"), threads=1)
"""No floor: the scores of a random model lie anywhere."""


@pytest.fixture(scope="session")
def lid_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lid(tmp_path_factory.mktemp("checkpoint") / "tiny-lid")


@pytest.fixture(scope="session")
def lid_bundle(lid_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    out = tmp_path_factory.mktemp("bundle") / "lid"
    arguments = ["--model", str(lid_checkpoint), "--out", str(out), "--quiet"]
    mms_export.main([*arguments, "--precision", "fp32"], standalone_mode=False)
    return out


@pytest.fixture(scope="session")
def identifier(lid_bundle: Path) -> Iterator[Identifier]:
    with Identifier.open(lid_bundle, options=ANY) as opened:
        yield opened
