"""The tables of the documents equal the committed results."""

import re
from pathlib import Path

import pytest

from mms_bench.peers import PEERS
from mms_bench.report.markdown import render, updated
from mms_bench.run.result import load
from mms_bench.suites import NAMES, load_suite

ROOT = Path(__file__).resolve().parents[2]
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("benchmarks", "streaming")
}


@pytest.mark.parametrize("name", PAGES)
def test_tables_equal_the_results(name):
    blocks = {path.name: render(load(path)) for path in RESULTS}
    assert updated(PAGES[name], blocks) == PAGES[name], (
        f"run: mms-bench report RESULT.json --update docs/{name}.md for each of its results"
    )


def test_every_result_has_a_place_and_every_place_a_result():
    text = "".join(PAGES.values())
    places = re.findall(r"<!-- mms-bench: ([\w.-]+\.json) -->", text)
    assert sorted(places) == [path.name for path in RESULTS]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_results_name_no_folder_of_a_machine(path):
    content = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", content)


def test_every_peer_and_case_is_explained():
    cases = [part.name for name in NAMES for part in load_suite(name).parts]
    for name in (*PEERS, *cases):
        assert f"`{name}`" in PAGES["benchmarks"], name
