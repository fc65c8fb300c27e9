"""Transcripts in every format, read back by the libraries that define them."""

import itertools
import json

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid

from mms_engine.formats import FORMATS, render
from mms_engine.formats.cues import CueOptions, cues
from mms_engine.types import Transcript, Word


def spoken(*words: tuple[str, float, float], joiner: str = " ") -> Transcript:
    made = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    end = made[-1].end if made else 0.0
    return Transcript(joiner.join(word.text for word in made), "eng", made, end + 0.5, 0.9)


HELLO = spoken(("hello", 0.1, 0.5), ("{big}", 0.52, 0.9), ("<world>", 2.0, 2.5), ("a&b", 2.6, 2.7))
EMPTY = Transcript("", "eng", (), 0.0, 0.0)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    time, words = 0, []
    for _ in range(draw(st.integers(0, 60))):
        start = time + draw(st.integers(0, 100))
        time = start + draw(st.integers(1, 400))
        words.append((draw(st.text("abcé'", min_size=1, max_size=20)), start / 50, time / 50))
    return spoken(*words)


@given(transcripts())
def test_cues_hold_every_word_in_order_within_the_limits(transcript: Transcript) -> None:
    options = CueOptions()
    made = cues(transcript, options)
    assert " ".join(cue.text for cue in made) == transcript.text
    for cue, following in itertools.pairwise(made):
        assert cue.end <= following.start
    for cue in made:
        several = " " in cue.text
        assert not several or len(cue.text) <= options.characters
        assert not several or cue.end - cue.start <= options.seconds


def test_a_pause_begins_a_cue() -> None:
    assert [cue.text for cue in cues(HELLO)] == ["hello {big}", "<world> a&b"]


def test_a_script_without_spaces_is_joined_without() -> None:
    chinese = spoken(("你", 0.0, 0.2), ("好", 0.2, 0.4), ("吗", 5.0, 5.2), joiner="")
    assert [cue.text for cue in cues(chinese)] == ["你好", "吗"]


def test_text_is_the_text() -> None:
    assert render(HELLO, "clip", format_name="text") == "hello {big} <world> a&b\n"


def test_json_has_the_fields_of_the_dataclasses() -> None:
    document = json.loads(render(HELLO, "clip.wav", format_name="json"))
    assert list(document) == [
        "file",
        "text",
        "language",
        "words",
        "duration",
        "confidence",
        "alternatives",
    ]
    assert document["words"][0] == {"text": "hello", "start": 0.1, "end": 0.5, "confidence": 0.9}


@pytest.mark.parametrize(("name", "shown"), [("srt", "<world> a&b"), ("vtt", "&lt;world> a&amp;b")])
def test_subtitles_keep_times_and_signs(name: str, shown: str) -> None:
    text = render(HELLO, "clip", format_name=name)
    assert "hello {big}" in text
    assert shown in text.replace("&gt;", ">")
    times = [(e.start, e.end) for e in pysubs2.SSAFile.from_string(text, format_=name)]
    assert times == [(100, 900), (2000, 2700)]


def test_ctm_lines() -> None:
    first = render(HELLO, "my clip", format_name="ctm").splitlines()[0]
    assert first == "my_clip 1 0.100 0.400 hello 0.900"


def test_textgrid_is_read_back_by_praatio(tmp_path) -> None:
    path = tmp_path / "clip.TextGrid"
    path.write_text(render(HELLO, "clip", format_name="textgrid"))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    entries = [(e.start, e.end, e.label) for e in grid.getTier("words").entries]
    assert entries == [(w.start, w.end, w.text) for w in HELLO.words]
    assert grid.maxTimestamp == HELLO.duration


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_transcript_can_be_written(name: str) -> None:
    assert isinstance(render(EMPTY, "silence", format_name=name), str)
