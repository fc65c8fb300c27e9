"""The survey's arithmetic is what it says: ONNX Runtime's in fp32, NumPy's rounding in fp16."""

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from safetensors.numpy import load_file, save_file

from export_runs import run_export
from mms_engine.bundle import open_bundle
from mms_engine.errors import MmsError
from mms_export.graphs.numerics import NUMERICS
from mms_export.precision.__main__ import main
from mms_export.precision.arithmetic import (
    FP16,
    FP16_EVERYWHERE,
    FP16_UNFUSED,
    FP32,
    Arithmetic,
    narrow_product,
    rounded_norm,
)
from mms_export.precision.evaluator import Evaluator
from mms_export.precision.places import KINDS, kinds, stream, stream_gains
from mms_export.precision.ranges import RangeObserver
from mms_export.precision.result import decode, encode
from mms_export.precision.weights8 import store_weights, stored
from mms_export.rehearsal import bank, no_past
from mms_export.sources import open_source

RANDOM = np.random.default_rng(0)
AUDIO = {"audio": RANDOM.standard_normal((2, 5000)).astype(np.float32)}


@pytest.fixture(scope="module")
def feeds(checkpoint: Path, bundle: Path) -> dict[str, np.ndarray]:
    features = Evaluator(bundle / "graphs" / "frontend.fp32.onnx", FP32).run(AUDIO)
    return bank(open_source(str(checkpoint)), ("eng",), NUMERICS["fp32"]) | {
        "features": features,
        "lengths": np.array([15, 9]),
        "slot": np.array([0, 0]),
    }


def half(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: array.astype(np.float16)
        if name in ("adapters", "head_weight", "head_bias")
        else array
        for name, array in feeds.items()
    }


def encoder(bundle: Path, kind: Arithmetic, gain: float = 1.0) -> Evaluator:
    path = bundle / "graphs" / f"encoder.{kind.graph}.onnx"
    gains = stream_gains(Evaluator(path, kind).graph, gain)
    return Evaluator(path, kind, gains)


@pytest.mark.parametrize("stage", ["frontend", "encoder", "cached"])
def test_float32_equals_onnx_runtime(checkpoint, bundle, feeds, stage):
    path = bundle / "graphs" / f"{stage}.fp32.onnx"
    given = AUDIO if stage == "frontend" else feeds
    if stage == "cached":
        source = open_source(str(checkpoint))
        given = feeds | no_past(source, feeds["features"], NUMERICS["fp32"])
    wanted = onnxruntime.InferenceSession(str(path)).run(None, given)[0]
    found = Evaluator(path, FP32).run(given)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def graph_of(folder: Path, nodes: list, weights: dict[str, np.ndarray], kind: int) -> Path:
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("x", kind, None)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = folder / "planted.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_result_is_rounded_as_numpy_rounds(tmp_path, dtype):
    """Ties, subnormals and what is beyond the range too: sums of 16-bit values are exact in 32."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    path = graph_of(tmp_path, [helper.make_node("Add", ["x", "w"], ["y"], "sum")], {}, kind)
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    every = every[np.isfinite(every.astype(np.float32))]
    for shift in (1.0, 2.0**-24, -0.333, 3e4, 65504.0):
        other = np.array([shift], dtype)
        model = onnx.load(path)
        model.graph.initializer.extend([numpy_helper.from_array(other, "w")])
        onnx.save(model, tmp_path / "one.onnx")
        found = Evaluator(tmp_path / "one.onnx", FP16).run({"x": every.copy()})
        with np.errstate(over="ignore"):
            wanted = (every.astype(np.float32) + other.astype(np.float32)).astype(dtype)
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_a_planted_overflow_is_found_where_onnx_runtime_shows_none(tmp_path):
    """300 * 300 does not fit float16; ONNX Runtime divides it again before it would be rounded."""
    nodes = [
        helper.make_node("MatMul", ["x", "layer.weight"], ["product"], "product"),
        helper.make_node("Mul", ["product", "small"], ["y"], "scaled"),
    ]
    weights = {
        "layer.weight": np.full((1, 1), 300, np.float16),
        "small": np.array([2**-10], np.float16),
    }
    path = graph_of(tmp_path, nodes, weights, TensorProto.FLOAT16)
    value = {"x": np.full((1, 1), 300, np.float16)}
    session = onnxruntime.InferenceSession(str(path))
    assert np.isfinite(session.run(None, value)[0]).all()

    evaluator = Evaluator(path, FP16)
    observer = RangeObserver(evaluator.graph)
    assert np.isinf(evaluator.run(value, observer)).all()
    assert observer.first_overflow == "layer MatMul"
    ranges = observer.ranges
    assert (ranges["product"].peak, ranges["product"].overflowing) == (90000.0, 1)
    assert ranges["y"].overflowing == 0  # infinite before it was rounded


def test_fp16_everywhere_is_what_a_converter_makes(bundle, feeds, tmp_path):
    source = bundle / "graphs" / "encoder.fp32.onnx"
    converted = convert_float_to_float16(onnx.load(source), disable_shape_infer=True)
    onnx.save(converted, tmp_path / "encoder.onnx")
    found = Evaluator(source, FP16_EVERYWHERE).run(feeds)
    narrow = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in feeds.items()
    }
    wanted = Evaluator(tmp_path / "encoder.onnx", FP16).run(narrow)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("gain", [2.0**10, 2.0**20])
def test_a_larger_stream_is_the_same_function(bundle, feeds, gain):
    plain = encoder(bundle, FP32).run(feeds)
    path = bundle / "graphs" / "encoder.fp32.onnx"
    scaled = Evaluator(path, FP32, stream_gains(onnx.load(path).graph, gain))
    observer = RangeObserver(scaled.graph, assumed=torch.float16)
    np.testing.assert_allclose(scaled.run(feeds, observer), plain, atol=1e-3)
    # Every tensor of the stream is larger, not only the first.
    before = RangeObserver(scaled.graph, assumed=torch.float16)
    encoder(bundle, FP32).run(feeds, before)
    for name in stream(scaled.graph):
        assert observer.ranges[name].peak == pytest.approx(
            gain * before.ranges[name].peak, rel=1e-3
        )


def test_fp16_holds_a_stream_that_float16_cannot(bundle, feeds):
    """Also where one layer adds more than 65,504 at once: the headroom, not only the float32."""
    plain = encoder(bundle, FP32).run(feeds)[0]
    gain = 2.0**14
    exact = encoder(bundle, FP32, gain)
    observer = RangeObserver(exact.graph, assumed=torch.float16)
    exact.run(feeds, observer)
    added = [name for name, (_, kind) in kinds(exact.graph).items() if kind == "added"]
    assert max(observer.ranges[name].peak for name in added) > 65504
    found = encoder(bundle, FP16, gain).run(half(feeds))[0]
    assert np.abs(found - plain).max() < 0.05
    naive = encoder(bundle, FP16_EVERYWHERE, gain)
    seen = RangeObserver(naive.graph)
    assert not np.isfinite(naive.run(feeds, seen)).all()
    assert seen.first_overflow


def test_unfused_norm_equals_the_fused_one_until_its_square_overflows():
    value = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(64)
    fused = torch.nn.functional.layer_norm(value, (64,), ones, None, 1e-5)
    unfused = rounded_norm(value.half().float(), ones, None, 1e-5, torch.float16)
    assert (fused - unfused).abs().max() < 0.01
    assert not rounded_norm(value * 300, ones, None, 1e-5, torch.float16).abs().max() > 0


def test_narrow_sums_lose_what_wide_sums_keep():
    left, right = torch.full((1, 4096), 1.0), torch.full((4096, 1), 1.0)
    right[16:] = 2.0**-6  # sixteen of them are less than the accumulator can tell from its sum
    left[:, :16] = 64.0
    assert (left @ right).item() == 1024 + 4080 / 64
    assert narrow_product(left, right).item() == 1024
    exact = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)).half().float()
    assert torch.allclose(narrow_product(exact, exact.T), exact @ exact.T, atol=0.05)


@pytest.mark.parametrize(("storage", "error"), [("int8", 0.5 / 127), ("fp8", 1 / 16)])
def test_matrices_of_eight_bits_are_near_the_sixteen_bits(bundle, feeds, tmp_path, storage, error):
    weight = RANDOM.standard_normal((64, 8)).astype(np.float32)
    weight[:, 3] = 0
    array, scale = stored(weight, storage)
    assert array.itemsize == 1
    back = array.astype(np.float32) * scale.astype(np.float32)
    assert np.abs(back - weight).max() <= 1.02 * error * np.abs(weight).max()
    path = tmp_path / "encoder.onnx"
    store_weights(bundle / "graphs" / "encoder.fp16.onnx", path, storage)
    found = Evaluator(path, FP16).run(half(feeds))
    wanted = encoder(bundle, FP16).run(half(feeds))
    assert 1e-3 < np.abs(found - wanted).max() < 2


def test_the_command_writes_a_survey(bundle, tmp_path):
    out = tmp_path / "survey.json"
    given = ["survey", str(bundle), "--seconds", "0.5", "--to", "16", "--step", "16"]
    result = CliRunner().invoke(main, [*given, "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    survey = decode(out.read_bytes(), where="survey.json")
    assert encode(survey) == out.read_bytes()
    layers = open_bundle(bundle).manifest.architecture.num_hidden_layers
    assert [(r.layer, r.kind) for r in survey.ranges] == [
        (layer, kind) for layer in range(layers) for kind in KINDS
    ]
    rows = {(row.arithmetic, row.gain): row for row in survey.sweep}
    assert rows["fp32", 1].max_abs_error == 0
    assert rows["fp16", 1].agreement > 0.9
    assert rows["fp16 everywhere", 2.0**16].agreement == 0
    assert rows["fp16 everywhere", 2.0**16].first_overflow
    names = [row.arithmetic for row in survey.formats]
    assert {"fp16, sums in fp16", "fp16, weights int8", "fp16, weights fp8"} <= set(names)


def test_what_is_no_survey_is_refused():
    with pytest.raises(MmsError, match="is not the result of a precision survey"):
        decode(b"{}", where="x.json")


def test_unused_kinds_of_arithmetic_do_not_slip_in(bundle, feeds):
    """`fp16 everywhere, unfused` differs from `fp16 everywhere` in layer norm alone, and does."""
    fused = encoder(bundle, FP16_EVERYWHERE).run(feeds)
    assert not np.array_equal(fused, encoder(bundle, FP16_UNFUSED).run(feeds))


@pytest.fixture(scope="module")
def loud(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, its feed-forward so large that float16 holds weights but not sums."""
    folder = tmp_path_factory.mktemp("loud") / "loud-mms"
    shutil.copytree(checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, array in tensors.items():
        if name.endswith("feed_forward.output_dense.weight"):
            tensors[name] = array * np.float32(2**21)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_an_export_refuses_what_float16_cannot_hold(loud, tmp_path):
    with pytest.raises(MmsError, match="fp16 graphs give logits that are not finite"):
        run_export(loud, tmp_path / "bundle", precisions=("fp16",))


def test_the_same_model_exports_in_bf16(loud, tmp_path):
    manifest = run_export(loud, tmp_path / "bundle", precisions=("fp32", "bf16"))
    assert {graph.precision for graph in manifest.graphs} == {"fp32", "bf16"}
