"""A tiny random model of language identification and its bundle, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporting import export
from mms_engine import Identifier, IdentifierOptions
from tiny_models import make_tiny_lid

ANY = IdentifierOptions(min_logit=float("-inf"), threads=1)
"""No floor: the scores of a random model lie anywhere."""


@pytest.fixture(scope="session")
def lid_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lid(tmp_path_factory.mktemp("checkpoint") / "tiny-lid")


@pytest.fixture(scope="session")
def lid_bundle(lid_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return export(lid_checkpoint, tmp_path_factory.mktemp("bundle") / "lid")


@pytest.fixture(scope="session")
def identifier(lid_bundle: Path) -> Iterator[Identifier]:
    with Identifier.open(lid_bundle, options=ANY) as opened:
        yield opened
