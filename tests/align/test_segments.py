"""Segments of alignments, and the clips that are cut from the audio."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align_speech import RATE, Speech, join
from mms_engine.align.aligner import Aligner
from mms_engine.align.segments import Segment, SegmentOptions, cut, segments
from mms_engine.audio.write import encode_audio
from mms_engine.types import AlignedLine, AlignedWord, Alignment, Audio, Region


def alignment(
    words: list[tuple[str, float, float]],
    lines: list[int],
    regions: tuple[Region, ...] = (),
    untrusted: frozenset[int] = frozenset(),
) -> Alignment:
    """Return an alignment of words, and the number of words of each line."""
    starts = [0, *itertools.accumulate(lines)]
    line_of = [line for line, count in enumerate(lines) for _ in range(count)]
    made = tuple(
        AlignedWord(text, start, end, 0.5, i not in untrusted, aligned=True, line=line_of[i])
        for i, (text, start, end) in enumerate(words)
    )
    built = tuple(
        AlignedLine(
            " ".join(text for text, _, _ in words[a:b]),
            words[a][1] if b > a else 0.0,
            words[b - 1][2] if b > a else 0.0,
            0.5,
            1.0,
            a,
            b,
            0,
        )
        for a, b in itertools.pairwise(starts)
    )
    end = words[-1][2] + 1 if words else 1.0
    return Alignment(made, built, regions, end, "eng", "tight", 1.0)


FOUR = [("Hello,", 1.0, 1.4), ("world!", 1.5, 2.0), ("Good", 4.0, 4.3), ("bye.", 4.4, 4.8)]


def test_lines_are_padded_up_to_half_the_gap() -> None:
    first, second = segments(alignment(FOUR, [2, 0, 2]), SegmentOptions(padding_seconds=0.5))
    assert (first.text, first.start, first.end) == ("Hello, world!", 0.5, 2.5)
    assert (second.text, second.start, second.end) == ("Good bye.", 3.5, pytest.approx(5.3))
    close = [("a", 1.0, 2.0), ("b", 2.2, 3.0)]
    first, second = segments(alignment(close, [1, 1]), SegmentOptions(padding_seconds=0.5))
    assert first.end == second.start == pytest.approx(2.1)


def test_pauses_divide_text_across_lines() -> None:
    found = segments(alignment(FOUR, [1, 2, 1]), SegmentOptions(unit="pause"))
    assert [one.text for one in found] == ["Hello, world!", "Good bye."]


def test_long_line_is_divided_at_its_longest_gaps() -> None:
    words = [(f"w{i}", i + 0.3 * (i >= 6), i + 0.8 + 0.3 * (i >= 6)) for i in range(12)]
    options = SegmentOptions(max_seconds=7.0, padding_seconds=0.1)
    found = segments(alignment(words, [12]), options)
    assert [one.text for one in found] == [
        " ".join(f"w{i}" for i in range(6)),
        " ".join(f"w{i}" for i in range(6, 12)),
    ]
    assert all(one.end - one.start <= 7.0 for one in found)


def region(kind: str, start: float, end: float) -> tuple[Region, ...]:
    return (Region(kind, start, end, "", "speech", 0, 0),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "made", "reason"),
    [
        (SegmentOptions(min_score=0.6), alignment(FOUR, [4]), "score 0.50, below 0.6"),
        (SegmentOptions(), alignment(FOUR, [4], region("missing", 2.0, 4.0)), "2.0 s of speech"),
        (SegmentOptions(), alignment(FOUR, [4], region("extra", 2.0, 4.0)), None),
        (SegmentOptions(), alignment(FOUR, [4], (), frozenset({1, 2})), "50% trusted words"),
        (
            SegmentOptions(characters_per_second=(8, 30)),
            alignment(FOUR, [4]),
            "6.1 characters per second, outside 8 to 30",
        ),
        (SegmentOptions(max_seconds=60), alignment([("a", 0.0, 70.0)], [1]), "one word of 70.0 s"),
    ],
)
def test_segment_unfit_for_a_corpus_is_rejected(
    options: SegmentOptions, made: Alignment, reason: str | None
) -> None:
    (found,) = segments(made, options)
    assert (found.rejected is None) == (reason is None)
    assert reason is None or str(found.rejected).startswith(reason)


def test_scripts_without_spaces_keep_their_text() -> None:
    words = [("你", 0.0, 0.2), ("好", 0.3, 0.5), ("吗", 3.0, 3.2)]
    made = alignment(words, [3])
    line = AlignedLine("你好吗", 0.0, 3.2, 0.5, 1.0, 0, 3, 0)
    made = Alignment(made.words, (line,), (), 4.0, "cmn", "tight", 1.0)
    found = segments(made, SegmentOptions(unit="pause"))
    assert [one.text for one in found] == ["你好", "吗"]


@st.composite
def alignments(draw: st.DrawFn) -> Alignment:
    time, words = 0.0, []
    for i in range(draw(st.integers(0, 30))):
        start = time + draw(st.integers(0, 100)) / 50
        time = start + draw(st.integers(0, 60)) / 50
        words.append((f"w{i}", start, time))
    lines: list[int] = []
    while sum(lines) < len(words):
        lines.append(draw(st.integers(1, len(words) - sum(lines))))
    return alignment(words, lines)


@given(
    alignments(),
    st.sampled_from(["line", "pause"]),
    st.sampled_from([1.0, 5.0, 30.0]),
    st.sampled_from([0.0, 0.2]),
)
def test_every_word_is_in_one_segment(
    made: Alignment, unit: str, longest: float, padding: float
) -> None:
    options = SegmentOptions(unit=unit, max_seconds=longest, padding_seconds=padding)  # type: ignore[arg-type]
    found = segments(made, options)
    assert " ".join(one.text for one in found) == " ".join(word.text for word in made.words)
    position = 0.0
    for one in found:
        assert position <= one.start + 1e-9
        assert one.start <= one.end <= made.seconds + 1e-9
        assert one.rejected or one.end - one.start <= longest + 1e-9
        position = one.end


@given(st.data())
def test_cuts_do_not_depend_on_the_pieces(data: st.DataObject) -> None:
    samples = np.arange(3000, dtype=np.float32)
    places = sorted(data.draw(st.lists(st.integers(0, 3000), max_size=8)))
    spans = [(a, b) for a, b in itertools.pairwise(places) if b > a]
    parts = [Segment("", a / 1000, b / 1000, 1.0, 1.0) for a, b in spans]
    borders = sorted(data.draw(st.lists(st.integers(0, 3000), max_size=8)))
    pieces = np.split(samples, borders)
    found = list(cut(pieces, 1000, parts))
    assert [one.tolist() for one in found] == [samples[a:b].tolist() for a, b in spans]


@pytest.mark.parametrize("name", ["flac", "wav"])
def test_clips_keep_16_bit_samples(name: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    values = np.random.default_rng(0).integers(-32768, 32768, 12_345).astype(np.int16)
    content = encode_audio(values.astype(np.float32) / 32768, RATE, name)  # type: ignore[arg-type]
    read, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert rate == RATE
    assert np.array_equal(read, values)


def test_joined_recordings_are_given_back(
    aligner: Aligner, speech: dict[str, list[Speech]]
) -> None:
    """Cuts lie in the pauses, or within 100 ms of them, and the text is exact."""
    near, cuts = 0, 0
    for language, clips in speech.items():
        joined = join(clips)
        text = "\n".join(clip.text for clip in clips)
        aligned = aligner.align(Audio(joined.samples, RATE), text, language)
        found = segments(aligned, SegmentOptions(min_trusted=0.0, padding_seconds=1.0))
        assert [one.text for one in found] == [clip.text for clip in clips]
        borders = [
            0.0,
            *(edge for span in joined.spans for edge in span),
            joined.samples.size / RATE,
        ]
        for i, one in enumerate(found):
            for at, low, high in (
                (one.start, borders[2 * i], borders[2 * i + 1]),
                (one.end, borders[2 * i + 2], borders[2 * i + 3]),
            ):
                cuts += 1
                near += low - 0.1 <= at <= high + 0.1
    assert near >= 0.98 * cuts
