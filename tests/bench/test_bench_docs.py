"""docs/benchmarks.md and docs/streaming.md show the committed results, and nothing else."""

import re
from pathlib import Path

import pytest

from mms_bench.peers import DECODERS, PEERS
from mms_bench.report.documents import updated
from mms_bench.report.markdown import render
from mms_bench.schema import load
from mms_bench.suites import SUITES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def streaming():
    return (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["page", "streaming"])
def test_tables_are_those_of_the_results(name, request):
    text = request.getfixturevalue(name)
    assert updated(text, {path.name: render(load(path)) for path in RESULTS}) == text, (
        "run for both pages: mms-bench report bench/results/*.json --update PAGE"
    )


def test_every_result_has_a_place_and_every_filled_place_a_result(page, streaming):
    text = page + streaming
    places = dict(re.findall(r"<!-- mms-bench: ([\w.-]+\.json) -->\n(.*?)<!--", text, re.DOTALL))
    names = {path.name for path in RESULTS}
    assert names <= set(places)
    assert {name for name, text in places.items() if "## Suite" in text} == names


def test_results_name_no_folder_of_a_machine():
    for path in RESULTS:
        content = path.read_text(encoding="utf-8")
        assert not re.search(r"/(home|root|tmp|work|Users)/", content), path.name


def test_every_peer_and_case_is_explained(page):
    cases = [part.name for make in SUITES.values() for part in make().parts]
    for name in (*PEERS, *DECODERS, *cases):
        assert f"`{name}`" in page, name
