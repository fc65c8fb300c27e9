"""`mms-bench roofline`: its file, its tables, its chart, and the measurement behind it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mms_bench.cli import main
from mms_bench.race import Pace
from mms_bench.report.documents import updated
from mms_bench.roofline import document, tables
from mms_bench.roofline.processor import Trial, measure
from mms_export.cli import main as export
from tiny_models import make_tiny

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "bench" / "results" / "roofline" / "roofline.json"


@pytest.fixture
def invoke():
    return lambda *words: CliRunner().invoke(main, ["roofline", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roofline")
    checkpoint = make_tiny(folder / "checkpoint")
    words = ["--model", checkpoint, "--out", folder / "bundle", "--lang", "all"]
    export.main([str(word) for word in words], standalone_mode=False)
    return folder / "bundle"


def test_file_chart_and_document(invoke, tmp_path):
    page, chart, out = tmp_path / "page.md", tmp_path / "chart.svg", tmp_path / "r.json"
    page.write_text("<!-- mms-bench: r.json#memory -->\n<!-- mms-bench: end -->\n")
    done = invoke("--gpus", "t4,h100", "--json", out, "--chart", chart, "--update", page)
    assert done.exit_code == 0, done.output
    assert "**not measurements**" in done.stdout
    assert "| T4 | fp16 |" in done.stdout
    assert "Jetson" not in done.stdout
    assert "| T4 | 16 GB | 1 GB |" in page.read_text()
    assert b"<svg" in chart.read_bytes()
    again = tmp_path / "again.svg"
    shown = invoke("--from", out, "--chart", again)
    assert shown.stdout == done.stdout
    assert again.read_bytes() == chart.read_bytes()


def test_a_faster_gpu_has_lower_bounds(invoke, tmp_path):
    out = tmp_path / "r.json"
    invoke("--json", out)
    found = document.load(out)
    latency = {(b.gpu, b.rows, b.seconds): b.latency for b in found.bounds if b.precision == "fp16"}
    order = ["orin-nx", "agx-orin", "l4", "rtx-4090", "rtx-5090", "a100", "h100"]
    for rows in (1, 8, 32):
        times = [latency[key, rows, 10.0] for key in order]
        assert times == sorted(times, reverse=True)
    for bound in found.bounds:
        assert bound.rtfx == pytest.approx(bound.rows * bound.seconds / bound.latency)


def test_the_sizes_are_those_of_a_bundle(invoke, bundle):
    done = invoke("--bundle", bundle, "--gpus", "t4")
    assert done.exit_code == 0, done.output
    assert "checkpoint for a second of audio" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gpus", "voodoo"), "there is no GPU 'voodoo' in the table; choose from orin-nx"),
        (("--batches", "1,x"), "--batches takes positive whole numbers with commas, not '1,x'"),
        (("--batches", "0"), "--batches takes positive whole numbers with commas, not '0'"),
    ],
)
def test_bad_options_are_one_line(invoke, words, message):
    done = invoke(*words)
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", ["{}", "no JSON"])
def test_another_file_is_refused(invoke, tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    done = invoke("--from", path)
    assert done.exit_code == 1
    assert f"{path} is no result of mms-bench roofline" in done.stderr


def test_a_file_of_another_schema_is_refused(invoke, tmp_path):
    out = tmp_path / "r.json"
    invoke("--gpus", "t4", "--json", out)
    out.write_text(json.dumps(json.loads(out.read_text()) | {"schema": 99}))
    done = invoke("--from", out)
    assert "has schema 99, this release reads 1: make it again" in done.stderr


def test_a_document_without_a_place_is_refused(invoke, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    done = invoke("--gpus", "t4", "--update", page)
    assert done.exit_code == 1
    assert "has no place for roofline.json#gpus" in done.stderr
    assert page.read_text() == "nothing\n"


def test_the_model_is_held_against_measured_graphs(bundle):
    pace = Pace(warmup=0.0, min_time=0.02, min_samples=3)
    found = measure(Trial(bundle=bundle, seconds=1.0, threads=1, pace=pace))
    assert {c.graph for c in found.comparisons} == {"frontend", "encoder"}
    rates = found.rates
    assert rates.products["int8"] > 0
    assert rates.products["fp32"] > 1e8
    assert rates.bandwidth > 1e8
    assert min(rates.elements.values()) > 1e6
    for comparison in found.comparisons:
        assert comparison.predicted == pytest.approx(sum(comparison.by_limit.values()))
        # Tiny products are far from the peak, so it only must not be faster than the model allows.
        assert comparison.ratio > 0.7


def test_documents_show_the_committed_file():
    blocks = tables.blocks(document.load(COMMITTED), COMMITTED.name)
    shown = set()
    for name in ("gpu.md", "benchmarks.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        shown |= {block for block in blocks if f"<!-- mms-bench: {block} -->" in page}
        assert updated(page, blocks) == page, (
            "run: mms-bench roofline --from bench/results/roofline/roofline.json "
            f"--update docs/{name}"
        )
    assert shown == set(blocks)
