import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bench.bench_samples import CLIP, MIXED, ONE, make_result, make_row
from mms_bench.errors import BenchError
from mms_bench.peers import PEERS
from mms_bench.report import html, markdown, text
from mms_bench.report.markdown import Table
from mms_bench.report.plots import plot_bars
from mms_bench.run.result import Row

BATCHES = make_result(
    (
        make_row("batch-one", "ours-fp32", [60.0, 61.0], amount=80.0),
        make_row("batch-mixed", "ours-fp32", [61.0, 62.0], amount=80.0),
    ),
    cases=(ONE, MIXED),
)
X = text.TIMES


def cells(report, title):
    """Return the figures of a row by the name of their column."""
    lines = [line for line in report.splitlines() if line.startswith("|")]
    row = next(n for n, line in enumerate(lines) if line.startswith(f"| {title} |"))
    head = max(n for n in range(row) if lines[n].startswith("| ---")) - 1
    split = [[part.strip() for part in lines[n].strip("|").split("|")] for n in (head, row)]
    return dict(zip(*split, strict=True))


def test_markdown_has_the_figures():
    found = cells(markdown.render(make_result()), "MMS Engine (fp32)")
    assert found["median"] == "8.1 s"
    assert found["calls"] == "3"
    assert found["s of audio per second"] == "1.23"
    assert found["speed-up over transformers"] == f"1.26{X}"
    assert found["load"] == "2.5 s"
    assert found["largest difference"] == "1e-05"
    assert found["frames agree"] == "100.00%"
    assert "first call" not in found, "empty columns are left out"


def test_markdown_has_conditions_reasons_and_targets():
    report = markdown.render(make_result())
    conditions = ("Test CPU, 2 cores", "avx2", "torch 2.13", "mms-bench run asr", "abc123")
    for words in (*conditions, "Timed: x."):
        assert words in report
    assert "not quiet" not in report
    assert "| OpenVINO (fp32) | skipped | openvino is \\| away |" in report
    assert f"| fp32 against transformers | ≥ 1.25{X} | 1.26{X} | pass |" in report


def test_cases_are_compared_with_each_other():
    found = cells(markdown.render(BATCHES).split("### Mixed")[1], "MMS Engine (fp32)")
    assert found["speed-up over `batch-one`"] == f"0.98{X}"
    assert found["s of audio per second"] == "1.3"


def test_groups_are_shown_if_there_are_several():
    assert "group" not in markdown.render(make_result())
    rows = (
        make_row("clip", "transformers", [10.0]),
        make_row("clip", "onnx", [5.0]),
        make_row("clip", "transformers", [20.0], group=2),
        make_row("clip", "openvino", [5.0], group=2),
    )
    report = markdown.render(make_result(rows))
    assert cells(report, "OpenVINO (fp32)")["group"] == "2"
    assert cells(report, "OpenVINO (fp32)")["speed-up over transformers"] == f"4.00{X}"
    onnx = cells(report, "torch.onnx + ONNX Runtime (fp32)")
    assert onnx["speed-up over transformers"] == f"2.00{X}"


class Page(HTMLParser):
    """Counts tags and checks that they close."""

    def __init__(self, content):
        super().__init__()
        self.open, self.count, self.pictures, self.words = [], {}, [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_html_page_is_complete_and_needs_no_other_file():
    content = html.render([make_result(), BATCHES])
    page = Page(content)
    assert page.open == []
    assert page.count["h2"] == 2, "one section per file: files are never compared"
    assert page.count["img"] == 3
    assert not re.search(r"""(src|href)=["'](?!data:)""", content)
    for picture in page.pictures:
        kind, _, data = picture.partition(";base64,")
        assert kind == "data:image/svg+xml"
        assert b"</svg>" in base64.b64decode(data)
    assert f"1.26{X}" in "".join(page.words)


def test_html_page_escapes_text():
    row = Row(case="clip", implementation="openvino", status="failed", reason="<script>x</script>")
    content = html.render([make_result((row,))])
    assert "<script>" not in content
    assert "&lt;script&gt;" in content


def test_plot_is_reproducible_and_small():
    rows = [make_row("clip", "ours-fp32", [1.0 + n / 1000 for n in range(5000)], amount=10)]
    first = plot_bars(CLIP, rows)
    assert first == plot_bars(CLIP, rows)
    assert len(first) < 60_000


def bar_lengths(picture):
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="fill: (?:#0b7285|#adb5bd)"', picture)
    corners = [[float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)] for path in paths]
    return [max(found) - min(found) for found in corners]


def words_in(picture):
    return {found.strip() for found in re.findall(r"<!--(.*?)-->", picture)}


def test_bars_are_as_long_as_the_rates():
    picture = plot_bars(CLIP, make_result().rows[:2]).decode()
    theirs, ours = bar_lengths(picture)
    assert ours / theirs == pytest.approx(10.2 / 8.1, rel=1e-3)
    words = {"MMS Engine (fp32)", "1.23", "s of audio per second (longer is faster)"}
    assert words <= words_in(picture)


def test_row_without_figures_cannot_be_drawn():
    with pytest.raises(ValueError, match="clip/openvino has no figures"):
        plot_bars(CLIP, make_result().rows)
    with pytest.raises(BenchError, match="no case has figures"):
        html.first_picture([make_result(make_result().rows[2:])])


@pytest.mark.parametrize(
    ("form", "value", "words"),
    [
        (text.seconds, 9.5e-6, "9.5 µs"),
        (text.seconds, 0.0125, "12.5 ms"),
        (text.seconds, 0.3, "300 ms"),
        (text.seconds, 8.123, "8.12 s"),
        (text.seconds, 412.7, "413 s"),
        (text.size, None, ""),
        (text.size, 99e6, "99 MB"),
        (text.size, 3.859e9, "3.86 GB"),
        (text.times, 0.974, f"0.97{X}"),
        (text.times, 12.34, f"12.3{X}"),
        (text.times, 1234.5, f"1,234{X}"),
        (text.large, 999, "999"),
        (text.large, 12_345, "12.3 k"),
        (text.large, 2.5e9, "2.5 G"),
    ],
)
def test_numbers_in_words(form, value, words):
    assert form(value) == words


def test_every_peer_has_a_title():
    assert len({text.title(name) for name in PEERS}) == len(PEERS)
    assert text.title("ours-fp32 low") == "MMS Engine (fp32 low)"
    assert text.title("mms --help") == "mms --help"


def test_pipe_in_a_cell_does_not_split_it():
    assert markdown.table(Table(("a", "b"), (("x|y", "1"),))).endswith("| x\\|y | 1 |")


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
    for _ in range(2):
        markdown.update(path, {"asr.json": markdown.render(make_result())})
        first = path.read_text()
    assert "STALE" not in first
    assert "kept" in first
    assert first.startswith("# Speed\n\n<!-- mms-bench: asr.json -->\n")
    assert first.count("| MMS Engine (fp32) |") == 1
    assert markdown.updated(first, {"asr.json": markdown.render(make_result())}) == first


def test_document_without_a_place_is_refused_and_unchanged(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT)
    with pytest.raises(BenchError, match=r"has no place for tts.json: put the lines"):
        markdown.update(path, {"asr.json": "new", "tts.json": "new"})
    assert path.read_text() == DOCUMENT


def test_results_of_a_gpu_have_no_targets():
    result = make_result()
    assert "### Targets" in markdown.render(result)
    on_gpu = replace(result, settings=result.settings | {"device": "cuda (ort-cuda)"})
    assert "### Targets" not in markdown.render(on_gpu)
    assert "<h3>Targets" not in html.render([on_gpu])
