import numpy as np
import pytest

from engine_demo import DEMO
from mms_bench.errors import BenchError
from mms_bench.peers.chunked import Chunks
from mms_bench.streaming.recordings import Recording, joined, read_recordings

RATE = 16_000


def clip(language, seconds, text):
    return Recording(np.full(round(seconds * RATE), 0.5, np.float32), language, text)


def test_the_demo_has_recordings():
    found = read_recordings(DEMO / "clips" / "clips.tsv", ["eng", "rus"])
    assert {one.language for one in found} == {"eng", "rus"}
    assert all(one.text and one.seconds > 1 for one in found)


def test_clips_of_a_language_are_joined_with_pauses():
    clips = [clip("b", 2, "x"), clip("a", 3, "one"), clip("a", 3, "two"), clip("a", 1, "three")]
    found = joined(clips, 5.0)
    assert [(one.language, one.text) for one in found] == [
        ("a", "one two"),
        ("a", "three"),
        ("b", "x"),
    ]
    speech = np.abs(found[0].samples) > 0.1
    assert speech.sum() == 6 * RATE
    edges = np.flatnonzero(np.diff(speech.astype(int)))
    pauses = np.diff([-1, *edges, len(speech) - 1])[::2] / RATE
    assert len(pauses) == 3
    assert np.all((pauses >= 0.5) & (pauses <= 1.5))


def test_joining_is_the_same_each_time():
    clips = [clip("a", 1, "one"), clip("a", 1, "two")]
    first, second = joined(clips, 9.0), joined(clips, 9.0)
    assert np.array_equal(first[0].samples, second[0].samples)


@pytest.mark.parametrize("content", ["", "file\tlang\nx.wav\teng\n"])
def test_a_list_without_the_columns_is_refused(tmp_path, content):
    table = tmp_path / "list.tsv"
    table.write_text(content)
    with pytest.raises(BenchError, match="columns file, lang and text"):
        read_recordings(table, ["eng"])


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(BenchError, match="cannot read the recordings"):
        read_recordings(tmp_path / "none.tsv", ["eng"])


@pytest.mark.parametrize(
    ("end", "heard"), [(1.0, 10.0), (8.0, 10.0), (8.1, 14.0), (12.0, 14.0), (12.1, 17.0)]
)
def test_a_word_of_the_pipeline_waits_for_its_chunk(end, heard):
    assert Chunks(10.0, 4.0, 2.0).heard_at(end, 17.0) == heard
