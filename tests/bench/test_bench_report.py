import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from bench.bench_samples import CLIP, GOOD, MIXED, ONE, make_result, make_row
from mms_bench.bars import judge
from mms_bench.errors import BenchError
from mms_bench.report import documents, html_page, markdown, text
from mms_bench.report.content import Table
from mms_bench.report.plots import plot
from mms_bench.schema import Case, Row

BATCHES = make_result(
    (
        make_row("batch-one", "ours-fp32", [60.0, 61.0], amount=80.0),
        make_row("batch-mixed", "ours-fp32", [61.0, 62.0], amount=80.0),
    ),
    cases=(ONE, MIXED),
)


def cells(report, title):
    """Return the figures of a row by the name of their column."""
    lines = [line for line in report.splitlines() if line.startswith("|")]
    for number, line in enumerate(lines):
        if line.startswith(f"| {title} |"):
            heads = [n for n in range(number) if lines[n].startswith("| ---")]
            split = [part.strip() for part in lines[heads[-1] - 1].strip("|").split("|")]
            return dict(
                zip(split, [part.strip() for part in line.strip("|").split("|")], strict=True)
            )
    raise AssertionError(f"{title} is not in the report")


def test_markdown_has_the_figures():
    found = cells(markdown.render(make_result()), "MMS Engine (fp32)")
    assert found["median"] == "8.1 s"
    assert found["calls"] == "3"
    assert found["s of audio a second"] == "1.23"
    assert found["speed-up over transformers"] == "1.26×"  # noqa: RUF001
    assert found["load"] == "2.5 s"
    assert found["frames agree"] == "100.00%"
    assert "first call" not in found, "columns nobody filled are left out"


def test_small_times_and_large_rates_have_units():
    case = Case(name="beam", title="Beam", timing="Timed: x.", unit="frames", each="frame")
    row = make_row("beam", "ours-avx2", [1e-3], amount=50_000.0, score=-1234.5678)
    found = cells(markdown.render(make_result((row,), cases=(case,))), "MMS Engine (avx2)")
    assert found["a frame"] == "20 ns"
    assert found["frames a second"] == "50 M"
    assert found["log-probability"] == "-1,234.568"
    assert [text.large(value) for value in (999, 12_345, 2.5e9)] == ["999", "12.3 k", "2.5 G"]


def test_markdown_names_machine_versions_command_and_what_is_timed():
    report = markdown.render(make_result())
    for words in (
        "Test CPU, 2 cores",
        "avx2",
        "torch 2.13",
        "mms-bench run asr",
        "abc123",
        "Timed: x.",
    ):
        assert words in report
    assert "not quiet" not in report


def test_a_busy_machine_is_said():
    from dataclasses import replace

    from bench.bench_samples import MACHINE

    busy = replace(MACHINE, load_before=2.5)
    assert "load before 2.5: the machine was not quiet" in markdown.render(
        make_result(machine=busy)
    )


def test_what_has_no_figure_stands_with_its_reason():
    report = markdown.render(make_result())
    assert "| OpenVINO (fp32) | skipped | openvino is \\| away |" in report


def test_promises_are_printed():
    report = markdown.render(make_result())
    line = next(line for line in report.splitlines() if line.startswith("| fp32 against"))
    assert line == "| fp32 against transformers | ≥ 1.25× | 1.26× | pass |"  # noqa: RUF001


def test_batches_are_compared_case_with_case():
    found = cells(markdown.render(BATCHES).split("### Mixed")[1], "MMS Engine (fp32)")
    assert found["speed-up over `batch-one`"] == "0.98×"  # noqa: RUF001
    assert found["s of audio a second"] == "1.3"


def test_heats_are_shown_only_where_there_are_several():
    assert "heat" not in markdown.render(make_result())
    rows = (
        make_row("clip", "transformers", [10.0]),
        make_row("clip", "onnx", [5.0]),
        make_row("clip", "transformers", [20.0], heat=2),
        make_row("clip", "openvino", [5.0], heat=2),
    )
    report = markdown.render(make_result(rows))
    assert cells(report, "OpenVINO (fp32)")["heat"] == "2"
    assert cells(report, "OpenVINO (fp32)")["speed-up over transformers"] == "4.00×"  # noqa: RUF001
    onnx = cells(report, "torch.onnx + ONNX Runtime (fp32)")
    assert onnx["speed-up over transformers"] == "2.00×"  # noqa: RUF001


class Page(HTMLParser):
    """Counts tags and checks that they close."""

    VOID = ("meta", "img")

    def __init__(self, content):
        super().__init__()
        self.open, self.count, self.pictures, self.words = [], {}, [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_else():
    content = html_page.render([make_result(), BATCHES])
    page = Page(content)
    assert page.open == []
    assert page.count["h2"] == 2, "one section a file: files are never compared"
    assert page.count["img"] == 3
    assert not re.search(r"""(src|href)=["'](?!data:)""", content)
    for picture in page.pictures:
        kind, _, data = picture.partition(";base64,")
        assert kind == "data:image/svg+xml"
        assert b"</svg>" in base64.b64decode(data)
    assert "1.26×" in "".join(page.words)  # noqa: RUF001


def test_the_page_escapes_what_it_shows():
    row = Row(case="clip", implementation="openvino", status="failed", reason="<script>x</script>")
    content = html_page.render([make_result((row,))])
    assert "<script>" not in content
    assert "&lt;script&gt;" in content


def test_a_plot_is_the_same_twice_and_small():
    rows = [make_row("clip", "ours-fp32", [1.0 + n / 1000 for n in range(5000)], amount=10)]
    first = plot(CLIP, rows)
    assert first == plot(CLIP, rows)
    assert len(first) < 60_000


def bar_lengths(picture):
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="fill: (?:#0b7285|#adb5bd)"', picture)
    corners = [[float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)] for path in paths]
    return [max(found) - min(found) for found in corners]


def words_in(picture):
    return {found.strip() for found in re.findall(r"<!--(.*?)-->", picture)}


def test_the_bars_of_a_rate_are_as_long_as_the_rates():
    picture = plot(CLIP, make_result().rows[:2]).decode()
    theirs, ours = bar_lengths(picture)
    assert ours / theirs == pytest.approx(10.2 / 8.1, rel=1e-3)
    assert {"MMS Engine (fp32)", "1.23", "s of audio a second (longer is faster)"} <= words_in(
        picture
    )


def test_figures_far_apart_get_a_logarithmic_axis():
    case = Case(name="switch", title="Switch", timing="Timed: z.")
    near = [make_row("switch", "ours", [0.05]), make_row("switch", "transformers", [0.1])]
    far = [make_row("switch", "ours", [1e-5]), make_row("switch", "transformers", [0.1])]
    assert "time (shorter is faster)" in words_in(plot(case, near).decode())
    assert "time (shorter is faster, log scale)" in words_in(plot(case, far).decode())


def test_a_call_far_out_does_not_flatten_the_rest():
    calm = make_row("clip", "ours-fp32", [1.0] * 30, amount=10)
    upset = make_row("clip", "ours-fp32", [1.0] * 30 + [0.001], amount=10)
    lengths = [bar_lengths(plot(CLIP, [row]).decode()) for row in (calm, upset)]
    assert lengths[0] == lengths[1]


def test_a_row_without_figures_cannot_be_drawn():
    with pytest.raises(ValueError, match="clip/openvino has no figures"):
        plot(CLIP, make_result().rows)


@pytest.mark.parametrize(
    ("value", "words"),
    [(9.5e-6, "9.5 µs"), (0.0125, "12.5 ms"), (0.3, "300 ms"), (8.123, "8.12 s"), (412.7, "413 s")],
)
def test_seconds(value, words):
    assert text.seconds(value) == words


@pytest.mark.parametrize(("value", "words"), [(None, ""), (99e6, "99 MB"), (3.859e9, "3.86 GB")])
def test_bytes(value, words):
    assert text.gigabytes(value) == words


@pytest.mark.parametrize(("value", "words"), [(0.974, "0.97"), (12.34, "12.3"), (1234.5, "1,234")])
def test_times(value, words):
    assert text.times(value) == words + text.TIMES


def test_a_bar_in_a_cell_does_not_split_it():
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


def test_documents_are_rewritten_between_the_markers(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT)
    documents.update(path, {"asr.json": markdown.render(make_result())})
    first = path.read_text()
    assert "STALE" not in first
    assert "kept" in first
    assert first.startswith("# Speed\n\n<!-- mms-bench: asr.json -->\n")
    assert "| MMS Engine (fp32) |" in first
    documents.update(path, {"asr.json": markdown.render(make_result())})
    assert path.read_text() == first


def test_a_document_without_a_place_is_refused_and_untouched(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT)
    with pytest.raises(BenchError, match=r"has no place for tts.json: put the lines"):
        documents.update(path, {"asr.json": "new", "tts.json": "new"})
    assert path.read_text() == DOCUMENT


def test_the_checks_stand_beside_the_times():
    rows = (make_row("clip", "transformers", [1.0]), make_row("clip", "onnx", [1.0], check=GOOD))
    found = cells(markdown.render(make_result(rows)), "torch.onnx + ONNX Runtime (fp32)")
    assert found["largest difference"] == "1e-05"


def test_a_result_of_a_gpu_is_not_held_against_promises_for_a_cpu():
    result = make_result()
    assert "### Promises" in markdown.render(result)
    on_gpu = dataclasses.replace(result, settings=result.settings | {"device": "cuda (ort-cuda)"})
    assert judge(on_gpu) == []
    assert "### Promises" not in markdown.render(on_gpu)
    assert "<h3>Promises" not in html_page.render([on_gpu])
