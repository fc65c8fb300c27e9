"""Invariance of a stream's text: to cuts of the audio, save and restore, and other streams."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from mms_engine import BeamSearch, Recognizer
from mms_engine.asr.streaming import ContextOptions, StreamOptions
from mms_engine.errors import LanguageModelError
from stream_sounds import RATE, cut, finals, retractions, run, speech, texts


def options(kind: str = "cached", **changes: object) -> StreamOptions:
    context = ContextOptions(kind=kind, left_seconds=3.0, chunk_seconds=0.64, right_seconds=0.32)
    return StreamOptions(context=context, **changes)


@pytest.fixture(scope="module")
def english() -> np.ndarray:
    return speech("eng")


@pytest.fixture(scope="module", params=["cached", "window"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(demo: Recognizer, english: np.ndarray, kind: str) -> list:
    """Final events of the audio in one piece."""
    return finals(run(demo.stream("eng", options(kind)), [english]))


@pytest.mark.parametrize("size", [160, 1120, 16_000, 160_000, "seed 0", "seed 1", "seed 2"])
def test_text_does_not_depend_on_cuts(
    demo: Recognizer, english: np.ndarray, kind: str, whole: list, size: int | str
) -> None:
    random = np.random.default_rng(int(size[-1]) if isinstance(size, str) else 0)
    sizes = (
        int(10 ** random.uniform(0, 4.8)) if isinstance(size, str) else size
        for _ in itertools.count()
    )
    assert finals(run(demo.stream("eng", options(kind)), cut(english, sizes))) == whole
    assert len(whole) == 3


def test_bytes_may_be_cut_inside_samples(demo: Recognizer, english: np.ndarray) -> None:
    whole = (english * 2**15).round().astype("<i2")
    content, chosen = np.frombuffer(whole.tobytes(), "u1"), options(sample_format="s16le")
    pieces = [piece.tobytes() for piece in cut(content, itertools.cycle((1, 333, 4001, 7)))]
    events = run(demo.stream("eng", chosen), pieces)
    assert finals(events) == finals(run(demo.stream("eng", chosen), [whole]))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_text_does_not_depend_on_cuts_at_any_rate(
    demo: Recognizer, english: np.ndarray, rate: int
) -> None:
    sound = soxr.resample(english, RATE, rate).astype(np.float32)
    chosen = options(sample_rate=rate)
    pieces = cut(sound, itertools.chain([1] * 800, itertools.cycle((rate // 100, 1, rate // 3))))
    expected = finals(run(demo.stream("eng", chosen), [sound]))
    assert finals(run(demo.stream("eng", chosen), pieces)) == expected


@pytest.mark.parametrize("beam", [None, BeamSearch()], ids=["greedy", "beam"])
def test_stable_text_never_changes(demo_bundle: Path, kind: str, beam: BeamSearch | None) -> None:
    with Recognizer.open(demo_bundle, beam=beam) as recognizer:
        for language in ("eng", "rus", "ita"):
            stream = recognizer.stream(language, options(kind))
            events = run(stream, cut(speech(language), itertools.repeat(1600)))
            assert retractions(events) == []
            if beam is None:  # of a beam, only what all hypotheses share is stable
                assert any(event.stable_chars > 3 for event in events if event.type == "partial")


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_restored_stream_continues_exactly(
    demo: Recognizer, english: np.ndarray, kind: str, rate: int
) -> None:
    sound = english if rate == RATE else soxr.resample(english, RATE, rate).astype(np.float32)
    chosen = options(kind, sample_rate=rate)
    # A new resampler rounds differently: confidences may differ in their last digits.
    compared = finals if rate == RATE else texts
    expected = compared(run(demo.stream("eng", chosen), [sound]))
    stream, events = demo.stream("eng", chosen), []
    for piece in cut(sound, itertools.repeat(round(0.37 * rate))):
        events += stream.feed(piece)
        stream = demo.restore_stream(stream.save())
    assert compared([*events, *stream.finish()]) == expected


_OTHER_PROCESS = """
import sys
import numpy as np
from mms_engine import Recognizer
bundle, state, sound = sys.argv[1:]
with Recognizer.open(bundle) as recognizer:
    stream = recognizer.restore_stream(open(state, "rb").read())
    events = [*stream.feed(np.load(sound)), *stream.finish()]
print("|".join(e.transcript.text for e in events if e.type == "final"))
"""


def test_another_process_continues_a_saved_stream(
    demo: Recognizer, demo_bundle: Path, english: np.ndarray, tmp_path: Path
) -> None:
    expected = [text for text, *_ in finals(run(demo.stream("eng"), [english]))]
    stream, half = demo.stream("eng"), len(english) // 2 + 77
    before = [text for text, *_ in finals(stream.feed(english[:half]))]
    (tmp_path / "state").write_bytes(stream.save())
    np.save(tmp_path / "rest.npy", english[half:])
    arguments = [demo_bundle, tmp_path / "state", tmp_path / "rest.npy"]
    done = subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert [*before, *done.stdout.rstrip("\n").split("|")] == expected


def test_features_of_pieces_equal_those_of_the_whole_bit_by_bit(demo: Recognizer) -> None:
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


def test_stream_keeps_its_own_hotwords_when_restored(
    demo_bundle: Path, english: np.ndarray
) -> None:
    with Recognizer.open(demo_bundle, beam=BeamSearch()) as recognizer:
        plain = texts(run(recognizer.stream("eng"), [english]))
        word = "zz"  # not in the audio: only a great weight produces it
        chosen, third = StreamOptions(hotwords={word: 60.0}), len(english) // 3
        stream = recognizer.stream("eng", chosen)
        events = stream.feed(english[:third])
        events += run(recognizer.restore_stream(stream.save()), [english[third:]])
        whole = texts(run(recognizer.stream("eng", chosen), [english]))
        assert texts(run(recognizer.stream("eng"), [english])) == plain
    assert texts(events) == whole != plain
    assert word in str(whole)


def test_hotwords_need_a_beam_search(demo: Recognizer) -> None:
    with pytest.raises(LanguageModelError, match="need beam search"):
        demo.stream("eng", StreamOptions(hotwords={"hello": 1.0}))
