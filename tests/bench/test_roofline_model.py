"""The roofline's arithmetic: against the graphs, and against bounds worked out by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import onnx
import pytest

from mms_bench.errors import BenchError
from mms_bench.roofline.hardware import Gpu, Hardware, gpus
from mms_bench.roofline.memory import footprint, language_bytes
from mms_bench.roofline.model import Cost, bound, seconds, whole
from mms_bench.roofline.streams import Pace, most_streams, step_seconds
from mms_bench.roofline.work import Block, Load, Operation, blocks
from mms_engine.bank.adapters import slots_within
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.config import parse_config
from mms_export.cli import main as export
from mms_export.synthetic import TEMPLATE
from tiny_models import make_tiny

FAST = Hardware(
    products={"fp32": 1e12, "int8": 4e12},
    elements={"gelu": 1e9},
    bandwidth=1e11,
    cache=0.0,
    fuses=True,
)


@pytest.fixture(scope="module")
def full_size():
    document = json.loads((TEMPLATE / "config.json").read_text())
    return parse_config(document, where="config.json").ctc(normalize=True)


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roofline")
    checkpoint = make_tiny(folder / "checkpoint")
    words = ["--model", checkpoint, "--out", folder / "bundle", "--lang", "all"]
    words += ["--precision", "fp32,int8"]
    export.main([str(word) for word in words], standalone_mode=False)
    return open_bundle(folder / "bundle")


def test_weights_are_those_of_the_exported_graphs(tiny_bundle):
    """Every initializer of more than a few values is counted, and nothing else."""
    architecture = tiny_bundle.model(Wav2Vec2Ctc)
    for precision in ("fp32", "int8"):
        counted = footprint(architecture, Load(rows=1, frames=50, precision=precision)).weights
        written = 0
        for stage in ("frontend", "encoder"):
            model = onnx.load(tiny_bundle.graph(stage, precision)[1])
            written += sum(
                math.prod(item.dims) * onnx.helper.tensor_dtype_to_np_dtype(item.data_type).itemsize
                for item in model.graph.initializer
                if item.name.partition(".")[2] and math.prod(item.dims) > 1
            )
        # int8 keeps a float scale for each column too.
        assert counted == pytest.approx(written, rel=0.001 if precision == "fp32" else 0.06)


def test_products_are_those_of_the_exported_graphs(tiny_bundle):
    """Count the products of the nodes from the shapes that ONNX Runtime itself reports."""
    architecture = tiny_bundle.model(Wav2Vec2Ctc)
    entry = tiny_bundle.entry("eng")
    frames = 40
    load = Load(rows=1, frames=frames, vocab=entry.vocab_size, precision="fp32")
    counted = sum(block.total("product") for block in blocks(architecture, load))
    assert counted == pytest.approx(_graph_flops(tiny_bundle, frames, entry.vocab_size), rel=1e-9)


def _graph_flops(bundle, frames, vocab):
    architecture = bundle.model(Wav2Vec2Ctc)
    samples = FrameGeometry.of(architecture).samples(frames)
    sizes = {
        "audio": (1, samples),
        "features": (1, frames, architecture.feature_size),
        "lengths": (1,),
        "slot": (1,),
        "adapters": (1, architecture.adapter_parameters),
        "head_weight": (1, vocab, architecture.hidden_size),
        "head_bias": (1, vocab),
    }
    total = 0
    for stage in ("frontend", "encoder"):
        total += _count(onnx.load(bundle.graph(stage, "fp32")[1]), sizes)
    return total


def _count(model, sizes):
    """Run a graph with every product's operands as outputs, and count from their shapes."""
    import onnxruntime

    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Conv")]
    kept = {name for node in products for name in (*node.input[:2], *node.output)}
    initial = {item.name: tuple(item.dims) for item in model.graph.initializer}
    present = {value.name for value in model.graph.output}
    for name in sorted(kept - set(initial) - present):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {}
    for value in session.get_inputs():
        kind = np.int64 if value.type == "tensor(int64)" else np.float32
        feeds[value.name] = np.zeros(sizes[value.name], kind)
    if "lengths" in feeds:
        feeds["lengths"][:] = sizes["features"][1]
    names = [value.name for value in session.get_outputs()]
    shapes = initial | {
        name: value.shape for name, value in zip(names, session.run(names, feeds), strict=True)
    }
    total = 0
    for node in products:
        if node.op_type == "MatMul":
            total += 2 * math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        else:
            total += 2 * math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    return total


def test_the_true_size(full_size):
    load = Load(rows=1, frames=499, vocab=154, precision="fp32")
    found = footprint(full_size, load)
    # 965 M parameters of the checkpoint, less one language: notes of facebook/mms-1b-all.
    assert found.weights == pytest.approx(4 * 962.7e6, rel=1e-3)
    flops = sum(block.total("product") for block in blocks(full_size, load))
    assert flops == pytest.approx(2 * 962.7e6 * 499, rel=0.2)


def test_a_row_of_the_bank_is_the_engines(full_size):
    row = language_bytes(full_size, 256, "fp16")
    sizes = {
        "adapter_parameters": full_size.adapter_parameters,
        "hidden_size": full_size.hidden_size,
        "vocab": 256,
        "itemsize": 2,
    }
    assert slots_within(int(100 * row), **sizes) == 100
    assert slots_within(int(100 * row) - 1, **sizes) == 99


def test_a_fused_block_takes_what_is_longest_and_blocks_add_up():
    load = Load(rows=1, frames=1, precision="fp32")
    product = Block(
        stage="projection",
        repeats=3,
        operations=(Operation(kind="product", amount=2e9), Operation(kind="gelu", amount=1e6)),
        weights=1e6,
        edges=(1e6,),
        inner=(1e12,),
    )
    found = bound([product], load, FAST)
    assert found["projection"] == Cost(products=pytest.approx(6e-3))
    moved = replace(product, stage="head", weights=1e9)
    assert bound([moved], load, FAST)["head"].limit == "bandwidth"
    both = bound([product, moved], load, FAST)
    assert whole(both).seconds == pytest.approx(6e-3 + 3 * (1e9 + 1e6) / 1e11)
    assert seconds(both, "projection") == pytest.approx(6e-3)


def test_an_unfused_block_takes_each_after_the_other_and_moves_what_is_in_between():
    load = Load(rows=1, frames=1, precision="fp32")
    block = Block(
        stage="head",
        operations=(Operation(kind="product", amount=1e9), Operation(kind="gelu", amount=1e6)),
        weights=0,
        edges=(),
        inner=(1e9,),
    )
    cost = whole(bound([block], load, replace(FAST, fuses=False)))
    assert cost.products == pytest.approx(1e-3)
    assert cost.elements == pytest.approx(1e-3)
    assert cost.seconds == pytest.approx(2e9 / 1e11)


def test_what_fits_in_the_cache_moves_nothing():
    block = Block(stage="head", operations=(), weights=1000.0, edges=(500.0, 5000.0))
    load = Load(rows=1, frames=1, precision="fp32")
    small = replace(FAST, bandwidth=1.0, cache=900.0)
    assert whole(bound([block], load, small)).seconds == 6000.0
    assert whole(bound([block], load, replace(small, cache=2000.0))).seconds == 5000.0
    assert whole(bound([block], load, replace(small, cache=9000.0))).seconds == 0.0


def test_only_quantised_products_have_the_rate_of_integers():
    operations = (
        Operation(kind="product", amount=4e12, quantized=True),
        Operation(kind="product", amount=1e12),
    )
    block = Block(stage="head", operations=operations, weights=0, edges=())
    cost = whole(bound([block], Load(rows=1, frames=1, precision="int8"), FAST))
    assert cost.products == pytest.approx(2.0)


def test_a_precision_that_the_hardware_lacks(full_size):
    (t4,) = gpus(("t4",))
    load = Load(rows=1, frames=10, precision="bf16")
    with pytest.raises(BenchError, match="no products in bf16"):
        bound(blocks(full_size, load), load, t4.hardware())


def test_the_table_of_gpus_is_plausible():
    found = gpus()
    keys = "orin-nx agx-orin t4 l4 a10 rtx-4090 rtx-5090 a100 h100"
    assert [gpu.key for gpu in found] == keys.split()
    for gpu in found:
        assert isinstance(gpu, Gpu)
        assert gpu.source, gpu.key
        assert 1.5 < gpu.fp16 / gpu.fp32 < 20, gpu.key
        assert gpu.reserve < gpu.memory
        assert (gpu.link == 0) == gpu.name.startswith("Jetson")
    with pytest.raises(BenchError, match="no GPU 'rtx-9' in the table; choose from orin-nx, "):
        gpus(("t4", "rtx-9"))


def test_most_streams_is_the_last_that_keeps_up(full_size):
    (gpu,) = gpus(("t4",))
    hardware, pace = gpu.hardware(), Pace()
    most = most_streams(full_size, hardware, pace, "fp16")
    assert most > 1
    assert step_seconds(full_size, hardware, pace, most, "fp16") <= pace.chunk
    assert step_seconds(full_size, hardware, pace, most + 1, "fp16") > pace.chunk
    assert most_streams(full_size, hardware, replace(pace, chunk=1e-4), "fp16") == 0


def test_languages_take_what_is_left_of_the_memory(full_size):
    (gpu,) = gpus(("t4",))
    found = footprint(full_size, Load(rows=1, frames=500))
    count = found.languages(gpu)
    used = found.weights + found.activations + count * found.language
    assert used <= 15e9 < used + found.language
    assert replace(found, weights=1e12).languages(gpu) == 0
