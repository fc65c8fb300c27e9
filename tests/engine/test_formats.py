"""Transcripts in every format, compared with the libraries that define the formats."""

import csv
import io
import itertools
import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_engine.formats import (
    FORMATS,
    Interval,
    Tier,
    TimedText,
    from_transcript,
    render,
    render_timed,
)
from mms_engine.formats.cues import MAX_CHARACTERS, MAX_SECONDS, cues
from mms_engine.types import Transcript, Word


def spoken(*words: tuple[str, float, float], joiner: str = " ") -> Transcript:
    made = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    end = made[-1].end if made else 0.0
    return Transcript(joiner.join(word.text for word in made), "eng", made, end + 0.5, 0.9)


HELLO = spoken(("hello", 0.1, 0.5), ("{big}", 0.52, 0.9), ("<world>", 2.0, 2.5), ("a&b", 2.6, 2.7))
LATE = spoken(("late", 3599.9996, 3600.4), ('"later"', 36_000.0, 36_061.0))
LONG = spoken(("x" * 41 + "&" * 9, 0.0, 1.0), ("two words", 1.0, 2.0))
EMPTY = Transcript("", "eng", (), 0.0, 0.0)
TRANSCRIPTS = {"hello": HELLO, "late": LATE, "long": LONG, "empty": EMPTY}


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    time, words = 0, []
    for _ in range(draw(st.integers(0, 60))):
        start = time + draw(st.integers(0, 100))
        time = start + draw(st.integers(1, 400))
        words.append((draw(st.text("abcé'\"", min_size=1, max_size=20)), start / 50, time / 50))
    return spoken(*words)


@given(transcripts())
def test_cues_contain_every_word_in_order_within_the_limits(transcript: Transcript) -> None:
    made = cues(from_transcript(transcript, "clip"))
    assert " ".join(cue.text for cue in made) == transcript.text
    for cue, following in itertools.pairwise(made):
        assert cue.end <= following.start
    for cue in made:
        several = " " in cue.text
        assert not several or len(cue.text) <= MAX_CHARACTERS
        assert not several or cue.end - cue.start <= MAX_SECONDS


def test_pause_begins_a_cue() -> None:
    assert [cue.text for cue in cues(from_transcript(HELLO, "clip"))] == [
        "hello {big}",
        "<world> a&b",
    ]


def test_script_without_spaces_is_joined_without_spaces() -> None:
    chinese = spoken(("你", 0.0, 0.2), ("好", 0.2, 0.4), ("吗", 5.0, 5.2), joiner="")
    assert [cue.text for cue in cues(from_transcript(chinese, "clip"))] == ["你好", "吗"]


def test_text_format_is_the_text() -> None:
    assert render(HELLO, "clip", format_name="text") == "hello {big} <world> a&b\n"


def test_json_has_the_fields_of_the_dataclasses() -> None:
    document = json.loads(render(HELLO, "clip.wav", format_name="json"))
    fields = ["file", "text", "language", "words", "duration", "confidence", "alternatives"]
    assert list(document) == [*fields, "missing", "warnings"]
    assert document["words"][0] == {"text": "hello", "start": 0.1, "end": 0.5, "confidence": 0.9}


SUBTITLES = {
    "srt": "1\n00:00:00,100 --> 00:00:00,900\nhello {big}\n\n"
    "2\n00:00:02,000 --> 00:00:02,700\n<world> a&b\n",
    "vtt": "WEBVTT\n\n1\n00:00:00.100 --> 00:00:00.900\nhello {big}\n\n"
    "2\n00:00:02.000 --> 00:00:02.700\n&lt;world&gt; a&amp;b\n",
}


@pytest.mark.parametrize("name", SUBTITLES)
def test_subtitles_keep_times_and_escape_markup(name: str) -> None:
    assert render(HELLO, "clip", format_name=name) == SUBTITLES[name]


@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
@pytest.mark.parametrize("name", SUBTITLES)
def test_subtitles_are_read_back_by_pysubs2(name: str, transcript: Transcript) -> None:
    pysubs2 = pytest.importorskip("pysubs2")
    text = render(transcript, "clip", format_name=name)
    events = pysubs2.SSAFile.from_string(text, format_=name, keep_html_tags=True).events
    expected = cues(from_transcript(transcript, "clip"))
    times = [(round(cue.start * 1000), round(cue.end * 1000)) for cue in expected]
    assert [(event.start, event.end) for event in events] == times
    # pysubs2's own writer, without its SubStation tags
    written = pysubs2.SSAFile()
    written.events = [
        pysubs2.SSAEvent(*time, text=e.text) for time, e in zip(times, events, strict=True)
    ]
    again = written.to_string(name, keep_ssa_tags=True)
    assert again.rstrip("\n") == text.rstrip("\n")


def test_long_words_are_wrapped_without_cutting_entities() -> None:
    lines = render(LONG, "clip", format_name="vtt").splitlines()
    assert lines[4:6] == ["x" * 41 + "&amp;", "&amp;" * 8 + " two words"]


def test_subtitle_times_carry_into_hours() -> None:
    times = [line for line in render(LATE, "clip", format_name="srt").splitlines() if ">" in line]
    assert times == ["01:00:00,000 --> 01:00:00,400", "10:00:00,000 --> 10:01:01,000"]


def test_ctm_has_one_line_per_word() -> None:
    first = render(HELLO, "my clip", format_name="ctm").splitlines()[0]
    assert first == "my_clip 1 0.100 0.400 hello 0.900"


def test_textgrid_covers_the_whole_duration() -> None:
    lines = render(HELLO, "clip", format_name="textgrid").splitlines()
    assert lines[:2] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert lines[3:5] == ["xmin = 0.0", "xmax = 3.2"]
    texts = [line.split("=", 1)[1].strip() for line in lines if "text =" in line]
    assert texts == ['""', '"hello"', '""', '"{big}"', '""', '"<world>"', '""', '"a&b"', '""']


@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_textgrid_is_read_back_by_praatio(transcript: Transcript, tmp_path: Path) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    path, again = tmp_path / "clip.TextGrid", tmp_path / "again.TextGrid"
    path.write_text(render(transcript, "clip", format_name="textgrid"))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    entries = [(e.start, e.end, e.label) for e in grid.getTier("words").entries]
    words = [(w.start, w.end, w.text) for w in transcript.words]
    assert [entry for entry in entries if entry[2]] == words
    assert entries[0][0] == 0.0
    assert all(left[1] == right[0] for left, right in itertools.pairwise(entries))
    assert entries[-1][1] == grid.maxTimestamp == max(transcript.duration, 0.001)
    # praatio's own writer, apart from its spaces at the ends of lines
    grid.save(str(again), format="long_textgrid", includeBlankSpaces=True)
    theirs = textgrid.openTextgrid(str(again), includeEmptyIntervals=True)
    assert theirs.getTier("words").entries == grid.getTier("words").entries


@pytest.mark.parametrize("name", FORMATS)
def test_empty_transcript_can_be_written(name: str) -> None:
    text = render(EMPTY, "silence", format_name=name)
    assert text.endswith("\n") or (name, text) in (("ctm", ""), ("audacity", ""))


ALIGNED = TimedText(
    name="my clip",
    media="recordings/my clip.flac",
    language="kat",
    duration=4.0,
    joiner=" ",
    tiers=(
        Tier("lines", (Interval("ზე 1995 წელს.", 0.5, 2.0), Interval("<კი> & არა", 2.0, 3.0))),
        Tier(
            "words",
            (
                Interval("ზე", 0.5, 0.62, 0.9, trusted=True),
                Interval("1995", 0.62, 0.62, 0.0, trusted=False),
                Interval("წელს.", 0.7, 2.0, 0.8, trusted=True),
                Interval("<კი>", 2.0, 2.5, 0.7, trusted=True),
                Interval("& \x07არა", 2.5, 3.0, 0.6, trusted=True),
            ),
            within="lines",
        ),
    ),
)
"""Text with lines, a word without duration, and characters that XML escapes or forbids."""


def test_cue_ends_with_its_line() -> None:
    assert [cue.text for cue in cues(ALIGNED)] == ["ზე 1995 წელს.", "<კი> & \x07არა"]


def test_textgrid_has_every_tier_and_word(tmp_path: Path) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    path = tmp_path / "clip.TextGrid"
    path.write_text(render_timed(ALIGNED, format_name="textgrid"), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("lines", "words")
    words = [entry.label for entry in grid.getTier("words").entries]
    assert words == ["ზე", "1995 წელს.", "<კი>", "& \x07არა"]


def test_textgrid_is_read_by_praat(tmp_path: Path) -> None:
    parselmouth = pytest.importorskip("parselmouth")
    path = tmp_path / "clip.TextGrid"
    path.write_text(render_timed(ALIGNED, format_name="textgrid"), encoding="utf-8")
    grid = parselmouth.read(str(path))
    assert parselmouth.praat.call(grid, "Get number of tiers") == 2
    assert parselmouth.praat.call(grid, "Get label of interval", 2, 4) == "1995 წელს."


def test_eaf_is_read_back_by_pympi(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi").Elan
    path = tmp_path / "clip.eaf"
    path.write_text(render_timed(ALIGNED, format_name="eaf"), encoding="utf-8")
    document = elan.Eaf(path)
    assert list(document.get_tier_names()) == ["lines", "words"]
    assert document.get_parameters_for_tier("words")["PARENT_REF"] == "lines"
    assert sorted(document.get_annotation_data_for_tier("lines")) == [
        (500, 2000, "ზე 1995 წელს."),
        (2000, 3000, "<კი> & არა"),
    ]
    words = [text for _, _, text in sorted(document.get_annotation_data_for_tier("words"))]
    assert words == ["ზე", "1995 წელს.", "<კი>", "& \ufffdარა"]
    (media,) = document.get_linked_files()
    assert media["MIME_TYPE"] == "audio/flac"
    assert media["RELATIVE_MEDIA_URL"] == "./my%20clip.flac"


@given(transcripts())
def test_eaf_keeps_the_words_of_a_transcript(transcript: Transcript) -> None:
    elan = pytest.importorskip("pympi").Elan
    with tempfile.NamedTemporaryFile("w", suffix=".eaf", encoding="utf-8") as file:
        file.write(render(transcript, "clip", format_name="eaf"))
        file.flush()
        found = elan.Eaf(file.name)
    made = sorted(found.get_annotation_data_for_tier("words"))
    expected = [(round(w.start * 1000), round(w.end * 1000), w.text) for w in transcript.words]
    assert made == expected


def test_audacity_labels_are_tab_separated_lines() -> None:
    lines = render_timed(ALIGNED, format_name="audacity").splitlines()
    assert lines[:2] == ["0.500000\t0.620000\tზე", "0.620000\t0.620000\t1995"]


def test_csv_has_every_interval() -> None:
    text = render_timed(ALIGNED, format_name="csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 7
    assert rows[0]["tier"] == "lines"
    assert rows[0]["trusted"] == ""
    assert rows[3] == {
        "tier": "words",
        "start": "0.620",
        "end": "0.620",
        "text": "1995",
        "score": "0.000",
        "trusted": "false",
    }


CTM_LINE = re.compile(r"\S+ \S+ \d+\.\d+ \d+\.\d+ \S+ [01]\.\d+")
"""Line as the NIST format defines it: six fields without white space."""


@pytest.mark.parametrize(
    "timed", [ALIGNED, from_transcript(HELLO, "my clip")], ids=["aligned", "hello"]
)
def test_ctm_lines_have_six_fields_in_order_of_time(timed: TimedText) -> None:
    lines = render_timed(timed, format_name="ctm").splitlines()
    assert all(CTM_LINE.fullmatch(line) for line in lines)
    starts = [float(line.split()[2]) for line in lines]
    assert starts == sorted(starts)
    assert len(lines) == len(timed.intervals("words"))
