"""The roofline's arithmetic against the exported graphs and by hand, and its command."""

import math
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from mms_bench.cli import main
from mms_bench.errors import BenchError
from mms_bench.roofline import tables
from mms_bench.roofline.model import Block, Load, blocks, bound, gpus
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_export.cli import main as export
from tiny_models import make_tiny

ROOT = Path(__file__).resolve().parents[2]
T4 = next(gpu for gpu in gpus() if gpu.key == "t4")
FAST = replace(T4, fp32=1.0, bandwidth=100.0, cache=0.0)
"""10^12 operations and 10^11 bytes per second."""


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
    load = Load(rows=1, frames=50, languages=0, itemsize=4)
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


def test_full_size_has_the_parameters_of_mms_1b_all():
    load = Load(rows=1, frames=499, languages=0, vocab=154, itemsize=4)
    work = blocks(tables.Model.open(None).sizes, load)
    # 965 M parameters of the checkpoint, less one language.
    assert weights(work) == pytest.approx(4 * 962.7e6, rel=1e-3)
    flops = sum(block.products * block.repeats for block in work)
    assert flops == pytest.approx(2 * 962.7e6 * 499, rel=0.2)


def block(**changes):
    return Block(**({"products": 0, "weights": 0, "edges": ()} | changes))


def test_block_takes_its_longest_part_and_blocks_add_up():
    first = block(repeats=3, products=2e9, weights=1e6, edges=(1e6,))
    assert bound([first], "fp32", FAST)["products"] == pytest.approx(6e-3)
    both = bound([first, replace(first, weights=1e9)], "fp32", FAST)
    assert both["bandwidth"] == pytest.approx(3 * (1e9 + 1e6) / 1e11)
    assert sum(both.values()) == pytest.approx(6e-3 + both["bandwidth"])


def test_tensors_within_the_cache_move_nothing():
    work = [block(weights=1e6, edges=(0.5e6, 5e6))]
    for cache, moved in ((0.9, 6e6), (2.0, 5e6), (9.0, 0.0)):
        found = bound(work, "fp32", replace(FAST, cache=cache))
        assert sum(found.values()) == pytest.approx(moved / 1e11)


def test_missing_precision_is_refused():
    with pytest.raises(BenchError, match="T4 has no products in bf16"):
        bound([block()], "bf16", T4)


def test_data_sheets_are_plausible():
    found = gpus()
    keys = "orin-nx agx-orin t4 l4 a10 rtx-4090 rtx-5090 a100 h100"
    assert [gpu.key for gpu in found] == keys.split()
    for gpu in found:
        assert gpu.source, gpu.key
        assert 1.5 < gpu.fp16 / gpu.fp32 < 20, gpu.key


def test_document_has_the_current_table(invoke, tmp_path):
    page, chart = ROOT / "docs" / "gpu.md", tmp_path / "chart.svg"
    copy = tmp_path / "page.md"
    copy.write_bytes(page.read_bytes())
    done = invoke("--chart", chart, "--update", copy)
    assert done.exit_code == 0, done.output
    assert "| T4 | fp16 |" in done.stdout
    assert b"<svg" in chart.read_bytes()
    assert copy.read_bytes() == page.read_bytes(), (
        "run: mms-bench roofline --update docs/gpu.md --chart docs/roofline.svg"
    )


def test_sizes_come_from_a_bundle(invoke, bundle):
    done = invoke("--bundle", bundle.path)
    assert done.exit_code == 0, done.output
    assert "Least time of checkpoint for" in done.stdout
