"""Rules of TensorRT that the engine counts on, with plans of two layers at the true widths."""

import contextlib

import numpy as np
import pytest

from gpu.conftest import why_not
from mms_engine import RecognizerOptions
from mms_engine.bundle import open_bundle
from mms_engine.cuda.context import open_device
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.loading import load_acoustic_model
from mms_export.cli import main as mms_export
from mms_export.synthetic.command import main as synthetic

pytestmark = pytest.mark.needs_cuda

RATE = 16_000
SHAPES = [(1, 1), (1, 4), (2, 2), (3, 7), (4, 4), (8, 1), (8, 10), (16, 30)]
"""Rows and seconds."""


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def plans(request, capability, tmp_path_factory):
    """Runtime, and a bundle of two layers with its plans."""
    reason = why_not(request.param, capability)
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    folder = tmp_path_factory.mktemp("two-layers")
    words = ["--out", str(folder / "model"), "--languages", "2", "--layers", "2"]
    synthetic(words, standalone_mode=False)
    sm = ["--sm", capability] if request.param == "tensorrt-rtx" else []
    words = ["--model", str(folder / "model"), "--out", str(folder / "bundle"), "--quiet"]
    engine = ["--precision", "fp16", "--engine", request.param, *sm]
    mms_export([*words, *engine], standalone_mode=False)
    return request.param, folder / "bundle"


@pytest.fixture
def opened(plans):
    """Open the model, to be closed by `with`."""
    runtime, bundle = plans
    options = RecognizerOptions(device="cuda", backend=runtime, precision="fp16")
    return lambda: contextlib.closing(load_acoustic_model(open_bundle(bundle), options))


def run(model, rows, seconds):
    """Return the logits of noise, the same for each shape."""
    noise = np.random.default_rng(rows * 100 + seconds)
    language = next(iter(model.bundle.languages))
    return model.logits(
        [
            Segment(noise.standard_normal(seconds * RATE).astype(np.float32), language)
            for _ in range(rows)
        ]
    )


def free_bytes():
    device = open_device()
    with device.active("testing"):
        return device.free_bytes()


def test_scratch_memory_is_that_of_the_shape(opened) -> None:
    with opened() as model:
        run(model, 1, 1)
        small = free_bytes()
        run(model, 16, 30)
        assert small - free_bytes() > 256 << 20, "a second of audio took the memory of a full batch"


def test_any_order_of_shapes_has_the_same_bits(opened) -> None:
    order = np.random.default_rng(1).integers(len(SHAPES), size=200)
    expected = {}
    with opened() as model:
        for index in order:
            found = run(model, *SHAPES[index])
            for row, before in zip(found, expected.setdefault(index, found), strict=True):
                np.testing.assert_array_equal(row, before)


def test_a_closed_model_leaves_nothing(opened) -> None:
    free = []
    for _ in range(4):
        with opened() as model:
            run(model, 2, 2)
        free.append(free_bytes())
    # The first rounds load kernels and fill pools.
    assert free[1] - free[-1] < 64 << 20
