"""The roofline's arithmetic against the exported graphs and by hand, and its command."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from mms_bench.cli import main
from mms_bench.errors import BenchError
from mms_bench.report.markdown import updated
from mms_bench.roofline import tables
from mms_bench.roofline.model import bound, gpus
from mms_bench.roofline.work import Block, Load, blocks
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_export.cli import main as export
from tiny_models import make_tiny

ROOT = Path(__file__).resolve().parents[2]
(T4,) = gpus(("t4",))
FAST = replace(T4, fp32=1.0, bandwidth=100.0, cache=0.0)
"""10^12 operations and 10^11 bytes per second."""


@pytest.fixture(scope="module")
def full_size():
    return tables.Model.open(None).architecture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roofline")
    checkpoint = make_tiny(folder / "checkpoint")
    words = ["--model", checkpoint, "--out", folder / "bundle", "--lang", "all"]
    export.main([*map(str, words), "--precision", "fp32"], standalone_mode=False)
    return open_bundle(folder / "bundle")


@pytest.fixture
def invoke():
    return lambda *words: CliRunner().invoke(main, ["roofline", *(str(word) for word in words)])


def weights(work):
    return sum(block.weights * block.repeats for block in work)


def test_weights_are_those_of_the_exported_graphs(bundle):
    """Every initializer of more than a few values is counted, and nothing else."""
    load = Load(rows=1, frames=50, languages=0, precision="fp32")
    counted = weights(blocks(bundle.model(Wav2Vec2Ctc), load))
    written = 0
    for stage in ("frontend", "encoder"):
        model = onnx.load(bundle.graph(stage, "fp32")[1])
        written += sum(
            math.prod(item.dims) * onnx.helper.tensor_dtype_to_np_dtype(item.data_type).itemsize
            for item in model.graph.initializer
            if item.name.partition(".")[2] and math.prod(item.dims) > 1
        )
    assert counted == pytest.approx(written, rel=0.001)


def test_products_are_those_of_the_exported_graphs(bundle):
    """Count the products of the nodes from the shapes that ONNX Runtime reports."""
    architecture, vocab, frames = bundle.model(Wav2Vec2Ctc), bundle.entry("eng").vocab_size, 40
    load = Load(rows=1, frames=frames, vocab=vocab, precision="fp32")
    counted = sum(block.products * block.repeats for block in blocks(architecture, load))
    sizes = {
        "audio": (1, FrameGeometry.of(architecture).samples(frames)),
        "features": (1, frames, architecture.feature_size),
        "lengths": (1,),
        "slot": (1,),
        "adapters": (1, architecture.adapter_parameters),
        "head_weight": (1, vocab, architecture.hidden_size),
        "head_bias": (1, vocab),
    }
    found = sum(
        count(onnx.load(bundle.graph(stage, "fp32")[1]), sizes) for stage in ("frontend", "encoder")
    )
    assert counted == pytest.approx(found, rel=1e-9)


def count(model, sizes):
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
    values = zip(names, session.run(names, feeds), strict=True)
    shapes = initial | {name: value.shape for name, value in values}
    total = 0
    for node in products:
        inner = (shapes[node.input[0]][-1],)
        if node.op_type == "Conv":
            inner = shapes[node.input[1]][1:]
        total += 2 * math.prod(shapes[node.output[0]]) * math.prod(inner)
    return total


def test_full_size_has_the_parameters_of_mms_1b_all(full_size):
    load = Load(rows=1, frames=499, languages=0, vocab=154, precision="fp32")
    work = blocks(full_size, load)
    # 965 M parameters of the checkpoint, less one language.
    assert weights(work) == pytest.approx(4 * 962.7e6, rel=1e-3)
    flops = sum(block.products * block.repeats for block in work)
    assert flops == pytest.approx(2 * 962.7e6 * 499, rel=0.2)


def block(**changes):
    fields = {"stage": "head", "products": 0, "elements": 0, "weights": 0, "edges": ()}
    return Block(**(fields | changes))


def test_block_takes_its_longest_part_and_blocks_add_up():
    first = block(repeats=3, products=2e9, elements=1e6, weights=1e6, edges=(1e6,))
    assert bound([first], "fp32", FAST)["products"] == pytest.approx(6e-3)
    both = bound([first, replace(first, weights=1e9)], "fp32", FAST)
    assert both["bandwidth"] == pytest.approx(3 * (1e9 + 1e6) / 1e11)
    assert sum(both.values()) == pytest.approx(6e-3 + both["bandwidth"])


def test_tensors_within_the_cache_move_nothing():
    work = [block(weights=1e6, edges=(0.5e6, 5e6))]
    for cache, moved in ((0.9, 6e6), (2.0, 5e6), (9.0, 0.0)):
        found = bound(work, "fp32", replace(FAST, cache=cache))
        assert sum(found.values()) == pytest.approx(moved / 1e11)


def test_missing_precision_and_unknown_gpu_are_refused(full_size):
    with pytest.raises(BenchError, match="T4 has no products in bf16"):
        bound(blocks(full_size, Load(rows=1, frames=10)), "bf16", T4)
    with pytest.raises(BenchError, match="no GPU 'rtx-9'; choose from orin-nx, "):
        gpus(("t4", "rtx-9"))


def test_data_sheets_are_plausible():
    found = gpus()
    keys = "orin-nx agx-orin t4 l4 a10 rtx-4090 rtx-5090 a100 h100"
    assert [gpu.key for gpu in found] == keys.split()
    for gpu in found:
        assert gpu.source, gpu.key
        assert 1.5 < gpu.fp16 / gpu.fp32 < 20, gpu.key
        assert gpu.reserve < gpu.memory
        assert (gpu.link == 0) == gpu.name.startswith("Jetson")


def test_command_writes_chart_and_document(invoke, tmp_path):
    page, charts = tmp_path / "page.md", [tmp_path / name for name in ("a.svg", "b.svg")]
    page.write_text("<!-- mms-bench: roofline -->\n<!-- mms-bench: end -->\n")
    for chart in charts:
        done = invoke("--gpus", "t4,h100", "--chart", chart, "--update", page)
    assert done.exit_code == 0, done.output
    assert "**not measurements**" in done.stdout
    assert "| T4 | fp16 |" in done.stdout
    assert "Jetson" not in done.stdout
    assert "| T4 | fp16 |" in page.read_text()
    assert b"<svg" in charts[0].read_bytes()
    assert charts[0].read_bytes() == charts[1].read_bytes()


def test_sizes_come_from_a_bundle(invoke, bundle):
    done = invoke("--bundle", bundle.path, "--gpus", "t4")
    assert done.exit_code == 0, done.output
    assert "Least time of checkpoint for" in done.stdout


@pytest.mark.parametrize("batches", ["1,x", "0"])
def test_invalid_batches_are_one_line(invoke, batches):
    done = invoke("--batches", batches)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    message = f"--batches takes comma-separated positive integers, not {batches!r}"
    assert message in done.stderr


def test_document_has_the_current_table(invoke):
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    table = invoke().stdout.rstrip("\n")
    assert table in page
    assert updated(page, {"roofline": table}) == page, (
        "run: mms-bench roofline --update docs/gpu.md --chart docs/roofline.svg"
    )
