"""Tiny random checkpoints of every kind and their bundles, made once."""

from pathlib import Path

import pytest

from embedding_kinds import LAYERS
from export_runs import run_export
from tiny_models import TinyOptions, make_plain, make_tiny, make_tiny_lid, make_tiny_pretrained


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By kind: pretrained networks (the third with adapters in it), and models with a head."""
    folder = tmp_path_factory.mktemp("checkpoints")
    options = TinyOptions(layers=LAYERS)
    plain = TinyOptions(layers=LAYERS, adapter=None)
    return {
        "pretrained": make_tiny_pretrained(folder / "pretrained", plain),
        "bare": make_tiny_pretrained(folder / "bare", plain, is_bare=True),
        "adapted": make_tiny_pretrained(folder / "adapted", options, is_bare=True),
        "asr": make_tiny(folder / "asr", options),
        "plain": make_plain(folder / "plain", TinyOptions((("eng", 9),), layers=LAYERS)),
        "lid": make_tiny_lid(folder / "lid", options=options),
    }


@pytest.fixture(scope="session")
def bundles(
    checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Not to be written to."""
    folder = tmp_path_factory.mktemp("bundles")
    for kind, checkpoint in checkpoints.items():
        run_export(checkpoint, folder / kind, precisions=("fp32",), data_dtype="float32")
    return {kind: folder / kind for kind in checkpoints}
