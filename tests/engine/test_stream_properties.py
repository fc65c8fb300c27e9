"""What the text of a stream must not depend on: the pieces, the company, a move to elsewhere."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from mms_engine import Recognizer, RecognizerOptions
from mms_engine.asr.streaming import ContextOptions, StreamOptions
from mms_engine.errors import LanguageModelError
from stream_sounds import RATE, cut, hear, retractions, said, speech, texts

KINDS = ("cached", "window")


def options(kind: str, **changes: object) -> StreamOptions:
    context = ContextOptions(kind=kind, left_seconds=3.0, chunk_seconds=0.64, right_seconds=0.32)
    return StreamOptions(context=context, **changes)


@pytest.fixture(scope="module")
def english() -> np.ndarray:
    return speech("eng")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("milliseconds", [10, 70, 1000, 10_000])
def test_pieces_of_any_size_give_the_same_text(
    demo: Recognizer, english: np.ndarray, kind: str, milliseconds: int
) -> None:
    whole = hear(demo.stream("eng", options(kind)), [english])
    size = RATE * milliseconds // 1000
    events = hear(demo.stream("eng", options(kind)), cut(english, itertools.repeat(size)))
    assert said(events) == said(whole)
    assert len(said(whole)) == 3


@pytest.mark.parametrize("seed", range(3))
def test_random_cuts_give_the_same_text(
    demo: Recognizer, english: np.ndarray, kind: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    sizes = (int(10 ** random.uniform(0, 4.8)) for _ in itertools.count())
    events = hear(demo.stream("eng", options(kind)), cut(english, sizes))
    assert said(events) == said(hear(demo.stream("eng", options(kind)), [english]))


def test_bytes_cut_inside_samples_give_the_same_text(demo: Recognizer, english: np.ndarray) -> None:
    whole = (english * 2**15).round().astype("<i2")
    content, sizes = whole.tobytes(), itertools.cycle((1, 333, 4001, 7))
    starts = itertools.accumulate(sizes, initial=0)
    pairs = itertools.takewhile(lambda pair: pair[0] < len(content), itertools.pairwise(starts))
    pieces = [content[start:end] for start, end in pairs]
    chosen = options("cached", sample_format="s16le")
    events = hear(demo.stream("eng", chosen), pieces)
    assert said(events) == said(hear(demo.stream("eng", chosen), [whole]))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_cut_anywhere_give_the_same_text(
    demo: Recognizer, english: np.ndarray, rate: int
) -> None:
    sound = soxr.resample(english, RATE, rate).astype(np.float32)
    chosen = options("cached", sample_rate=rate)
    whole = hear(demo.stream("eng", chosen), [sound])
    pieces = cut(sound, itertools.cycle((rate // 100, 1, rate // 3)))
    assert said(hear(demo.stream("eng", chosen), pieces)) == said(whole)


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("language", ["eng", "rus", "ita"])
def test_stable_text_never_changes(
    demo_bundle: Path, kind: str, decoder: str, language: str
) -> None:
    with Recognizer.open(demo_bundle, options=RecognizerOptions(decoder=decoder)) as recognizer:
        stream = recognizer.stream(language, options(kind))
        events = hear(stream, cut(speech(language), itertools.repeat(1600)))
    assert retractions(events) == []
    if decoder == "greedy":  # of a beam only what all its hypotheses share is stable
        assert any(event.stable_chars > 3 for event in events if hasattr(event, "stable_chars"))


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_saved_inside_a_word_and_restored_the_text_is_the_same(
    demo: Recognizer, english: np.ndarray, kind: str, rate: int
) -> None:
    sound = english if rate == RATE else soxr.resample(english, RATE, rate).astype(np.float32)
    chosen = options(kind, sample_rate=rate)
    # Another resampler rounds elsewhere: the confidences may differ in their last digits.
    told = said if rate == RATE else texts
    expected = told(hear(demo.stream("eng", chosen), [sound]))
    stream, events = demo.stream("eng", chosen), []
    for piece in cut(sound, itertools.repeat(round(0.37 * rate))):
        events += stream.feed(piece)
        stream = demo.restore_stream(stream.save())
    assert told([*events, *stream.finish()]) == expected


_ELSEWHERE = """
import sys
import numpy as np
from mms_engine import Recognizer
bundle, state, sound = sys.argv[1:]
with Recognizer.open(bundle) as recognizer:
    stream = recognizer.restore_stream(open(state, "rb").read())
    events = [*stream.feed(np.load(sound)), *stream.finish()]
print("|".join(e.transcript.text for e in events if hasattr(e, "transcript")))
"""


def test_another_process_goes_on(
    demo: Recognizer, demo_bundle: Path, english: np.ndarray, tmp_path: Path
) -> None:
    expected = [text for text, *_ in said(hear(demo.stream("eng"), [english]))]
    stream, half = demo.stream("eng"), len(english) // 2 + 77
    before = [text for text, *_ in said(stream.feed(english[:half]))]
    (tmp_path / "state").write_bytes(stream.save())
    np.save(tmp_path / "rest.npy", english[half:])
    arguments = [demo_bundle, tmp_path / "state", tmp_path / "rest.npy"]
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert [*before, *done.stdout.rstrip("\n").split("|")] == expected


def test_features_are_those_of_the_whole_file_bit_for_bit(demo: Recognizer) -> None:
    """The frontend hears a frame alike in whatever run it is computed."""
    model, sound = demo._model, speech("spa")[: 3 * RATE]
    frames = model.geometry.frames(len(sound))
    whole = model.encoder.features(sound[np.newaxis])[0]
    for sizes in ((1,), (16,), (32, 48, 7)):
        start = 0
        for size in itertools.cycle(sizes):
            end = min(frames, start + size)
            piece = model.encoder.features(sound[np.newaxis, model.geometry.span(start, end)])[0]
            np.testing.assert_array_equal(piece, whole[start:end])
            if end == frames:
                break
            start = end


def test_a_stream_has_its_own_hotwords_here_and_where_it_is_restored(
    demo_bundle: Path, english: np.ndarray
) -> None:
    beam = RecognizerOptions(decoder="beam")
    with Recognizer.open(demo_bundle, options=beam) as recognizer:
        plain = texts(hear(recognizer.stream("eng"), [english]))
        word = "zz"  # of nothing that is said: only a great weight brings it in
        chosen = StreamOptions(hotwords={word: 60.0})
        stream, half = recognizer.stream("eng", chosen), len(english) // 3
        events = stream.feed(english[:half])
        moved = recognizer.restore_stream(stream.save())
        events += [*moved.feed(english[half:]), *moved.finish()]
        whole = texts(hear(recognizer.stream("eng", chosen), [english]))
        assert texts(hear(recognizer.stream("eng"), [english])) == plain
    assert texts(events) == whole != plain
    assert word in str(whole)


def test_hotwords_need_a_search(demo: Recognizer) -> None:
    with pytest.raises(LanguageModelError, match="need decoder='beam'"):
        demo.stream("eng", StreamOptions(hotwords={"hello": 1.0}))
