"""A tiny checkpoint and its bundle, made once."""

from pathlib import Path

import pytest

from mms_export.bundle.options import ExportOptions
from mms_export.bundle.pipeline import export
from mms_export.cli.progress import Reporter
from tiny_models import make_tiny

ALL_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "tiny-mms")


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    options = ExportOptions(
        model=str(checkpoint), languages="all", out=out, precisions=ALL_PRECISIONS
    )
    export(options, Reporter(quiet=True))
    return out
