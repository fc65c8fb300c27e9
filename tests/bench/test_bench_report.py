"""Reports of results: Markdown, HTML, pictures, and the tables of documents."""

import base64
import re
from dataclasses import replace

import pytest

from bench.bench_samples import CLIP, make_result, make_row
from mms_bench.errors import BenchError
from mms_bench.peers import PEERS
from mms_bench.report import html, markdown, text
from mms_bench.report.plots import draw
from mms_bench.run.result import Row

X = text.TIMES
MIXED = replace(CLIP, name="batch-mixed", title="Mixed", baseline="batch-one/")
BATCHES = make_result(
    (
        make_row("batch-one/ours-fp32", [60.0, 61.0], amount=80.0),
        make_row("batch-mixed/ours-fp32", [61.0, 62.0], amount=80.0),
    ),
    cases=(replace(CLIP, name="batch-one", title="One"), MIXED),
)


def cells(report, title):
    """Return the figures of a row by the name of their column."""
    lines = [line for line in report.splitlines() if line.startswith("|")]
    row = next(n for n, line in enumerate(lines) if line.startswith(f"| {title} |"))
    head = max(n for n in range(row) if lines[n].startswith("| ---")) - 1
    split = [[part.strip() for part in lines[n].strip("|").split("|")] for n in (head, row)]
    return dict(zip(*split, strict=True))


def test_markdown_has_figures_conditions_reasons_and_targets():
    report = markdown.render(make_result())
    assert cells(report, "MMS Engine (fp32)") == {
        "": "MMS Engine (fp32)",
        "median": "8.1 s",
        "p10 … p90": "8.02 s … 8.18 s",
        "IQR": "100 ms",
        "calls": "3",
        "s of audio per second": "1.23",
        "speed-up over transformers": f"1.26{X}",
        "load": "2.5 s",
        "peak memory": "",
        "largest difference": "1e-05",
        "frames agree": "100.00%",
    }
    conditions = ("Test CPU, 2 cores", "avx2", "torch 2.13", "mms-bench run asr", "abc123")
    for words in (*conditions, "Timed: x."):
        assert words in report
    assert "not quiet" not in report
    assert "| OpenVINO (fp32) | skipped | openvino is \\| away |" in report
    assert f"| fp32 against transformers | ≥ 1.25{X} | 1.26{X} | pass |" in report


def test_cases_are_compared_with_each_other():
    found = cells(markdown.render(BATCHES).split("### Mixed")[1], "MMS Engine (fp32)")
    assert found["speed-up over `batch-one`"] == f"0.98{X}"


def test_fastest_of_several_peers_is_bold():
    rows = [make_row("clip/transformers", [10.0]), make_row("clip/ours-fp32", [8.0])]
    assert "**" not in markdown.render(make_result(rows))
    contest = make_result([*rows, make_row("clip/openvino", [9.0])])
    assert "| **OpenVINO (fp32)** | 9 s |" in markdown.render(contest)
    assert "<td><b>OpenVINO (fp32)</b></td>" in html.render([contest])
    assert "**transformers" not in markdown.render(contest)


def test_html_page_is_complete_and_needs_no_other_file():
    bad = Row(case="clip", implementation="openvino", status="failed", reason="<script>x</script>")
    result = make_result()
    content = html.render([replace(result, rows=(*result.rows, bad)), BATCHES])
    for tag in ("html", "style", "h1", "h2", "ul", "p", "table", "tr", "td"):
        assert len(re.findall(rf"<{tag}\b", content)) == content.count(f"</{tag}>"), tag
    assert content.count("<h2>") == 2, "one section per file: files are never compared"
    assert not re.search(r"""(src|href)=["'](?!data:)""", content)
    pictures = re.findall('src="data:image/svg\\+xml;base64,([^"]+)"', content)
    assert len(pictures) == 3
    assert all(b"</svg>" in base64.b64decode(picture) for picture in pictures)
    assert f"<td>1.26{X}</td>" in content
    assert "<script>" not in content, "text is escaped"
    with pytest.raises(BenchError, match="no case has figures"):
        html.first_picture([make_result((bad,))])


def test_bars_are_as_long_as_the_rates_and_reproducible():
    rows = make_result().rows[:2]
    picture = draw(CLIP, rows).decode()
    assert draw(CLIP, rows).decode() == picture
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="fill: (?:#0b7285|#adb5bd)"', picture)
    corners = [[float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)] for path in paths]
    theirs, ours = (max(found) - min(found) for found in corners)
    assert ours / theirs == pytest.approx(10.2 / 8.1, rel=1e-3)
    words = {found.strip() for found in re.findall(r"<!--(.*?)-->", picture)}
    assert {"MMS Engine (fp32)", "1.23", "s of audio per second (longer is faster)"} <= words


def test_every_peer_has_a_title():
    assert len({text.title(name) for name in PEERS}) == len(PEERS)
    assert text.title("ours-fp32 low") == "MMS Engine (fp32 low)"
    assert text.title("mms --help") == "mms --help"


DOCUMENT = """# Speed

<!-- mms-bench: asr.json -->
STALE
<!-- mms-bench: end -->

words

<!-- mms-bench: export.json -->
kept
<!-- mms-bench: end -->
"""


def test_documents_are_rewritten_between_markers(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT)
    with pytest.raises(BenchError, match=r"has no place for tts.json: put the lines"):
        markdown.update(path, {"asr.json": "new", "tts.json": "new"})
    assert path.read_text() == DOCUMENT
    for _ in range(2):
        markdown.update(path, {"asr.json": markdown.render(make_result())})
        first = path.read_text()
    assert "STALE" not in first
    assert "kept" in first
    assert first.startswith("# Speed\n\n<!-- mms-bench: asr.json -->\n")
    assert first.count("| MMS Engine (fp32) |") == 1


def test_results_of_a_gpu_have_no_targets():
    result = make_result()
    on_gpu = replace(result, settings=result.settings | {"device": "cuda (ort-cuda)"})
    assert "### Targets" in markdown.render(result)
    assert "### Targets" not in markdown.render(on_gpu)
