"""Graph evaluator: equal to ONNX Runtime in float32, and to NumPy's rounding in 16 bits."""

import dataclasses
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export_runs import edit_tensors, run_export
from mms_engine.errors import MmsError
from mms_export.checkpoints.open import open_checkpoint
from mms_export.graphs.numerics import NUMERICS
from mms_export.parity.evaluator import Evaluator
from mms_export.parity.execution import bank, empty_cache

AUDIO = {"audio": np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)}


@pytest.mark.parametrize("name", ["frontend", "encoder", "step"])
def test_float32_equals_onnx_runtime(checkpoint, bundle, name):
    feeds = AUDIO
    if name != "frontend":
        source = open_checkpoint(str(checkpoint))
        features = Evaluator(bundle / "graphs" / "frontend.fp32.onnx").run(AUDIO)[0]
        feeds = bank(source, ("eng", "eng"), NUMERICS["fp32"])
        feeds |= {"features": features, "lengths": np.array([15, 9])}
        if name == "step":
            feeds |= empty_cache(source, features, NUMERICS["fp32"])
    path = bundle / "graphs" / f"{name}.fp32.onnx"
    wanted = onnxruntime.InferenceSession(str(path)).run(None, feeds)[0]
    found = Evaluator(path).run(feeds)[0]
    largest = np.abs(wanted[np.isfinite(wanted)]).max()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * largest)


def graph_of(path: Path, nodes: list, weights: dict[str, np.ndarray], dtype: int) -> Path:
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("x", dtype, None)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_results_are_rounded_as_by_numpy(tmp_path, dtype):
    """Ties, subnormals and overflow included: sums of 16-bit values are exact in 32 bits."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    every = every[np.isfinite(every.astype(np.float32))]
    node = helper.make_node("Add", ["x", "w"], ["y"], "sum")
    for shift in (1.0, 2.0**-24, -0.333, 3e4, 65504.0):
        other = np.array([shift], dtype)
        path = graph_of(tmp_path / "sum.onnx", [node], {"w": other}, kind)
        found = Evaluator(path).run({"x": every.copy()})[0]
        with np.errstate(over="ignore"):
            wanted = (every.astype(np.float32) + other.astype(np.float32)).astype(dtype)
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_float16_overflow_is_visible_unlike_in_onnx_runtime(tmp_path):
    """300 * 300 exceeds float16; ONNX Runtime scales the product before it would be rounded."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "product"),
        helper.make_node("Mul", ["product", "small"], ["y"], "scaled"),
    ]
    weights = {"w": np.full((1, 1), 300, np.float16), "small": np.array([2**-10], np.float16)}
    path = graph_of(tmp_path / "product.onnx", nodes, weights, TensorProto.FLOAT16)
    feeds = {"x": np.full((1, 1), 300, np.float16)}
    assert np.isfinite(onnxruntime.InferenceSession(str(path)).run(None, feeds)[0]).all()
    assert np.isinf(Evaluator(path).run(feeds)[0]).all()


def louder(checkpoint: Path, folder: Path, gain: float) -> Path:
    """Copy a checkpoint with its feed-forward outputs multiplied by `gain`."""

    def amplify(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            if name.endswith("feed_forward.output_dense.weight"):
                tensors[name] *= gain

    shutil.copytree(checkpoint, folder)
    edit_tensors(folder / "model.safetensors", amplify)
    return folder


def test_export_refuses_fp16_on_overflow_and_accepts_bf16(checkpoint, tmp_path):
    loud = louder(checkpoint, tmp_path / "loud", 2**21)
    with pytest.raises(MmsError, match="fp16 graphs give logits that are not finite"):
        run_export(loud, tmp_path / "fp16", precisions=("fp16",))
    manifest = run_export(loud, tmp_path / "bf16", precisions=("fp32", "bf16"))
    assert {graph.precision for graph in manifest.graphs} == {"fp32", "bf16"}


def test_fp16_headroom_covers_contributions_beyond_float16(checkpoint, tmp_path, monkeypatch):
    """One layer adds more than 65,504 at once, which float16 without headroom cannot hold."""
    loud = louder(checkpoint, tmp_path / "loud", 2**16)
    run_export(loud, tmp_path / "headroom", precisions=("fp16",))
    plain = dataclasses.replace(NUMERICS["fp16"], headroom=1)
    monkeypatch.setitem(NUMERICS, "fp16", plain)
    with pytest.raises(MmsError, match="fp16 graphs give logits that are not finite"):
        run_export(loud, tmp_path / "plain", precisions=("fp16",))
