"""What goes wrong around a stream: each has its answer, and the stream goes on where it can."""

import itertools
import json
import os
import resource
import shutil
import time
from pathlib import Path

import jiwer
import numpy as np
import pytest

from mms_engine import Recognizer
from mms_engine.asr.streaming import (
    ContextOptions,
    Endpoint,
    EndpointOptions,
    Final,
    NormalizationOptions,
    Partial,
    StreamOptions,
)
from mms_engine.asr.streaming.audio_buffer import AudioBuffer
from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.encoder.host.steps import HostKvCache
from mms_engine.errors import AudioError, BackendError, BundleError, StreamError
from stream_sounds import RATE, cut, hear, said, speech

LONG = os.environ.get("MMS_LONG") == "1"


@pytest.fixture(scope="module")
def english() -> np.ndarray:
    return speech("eng")


def test_an_end_inside_a_chunk_keeps_what_was_heard(demo: Recognizer, english: np.ndarray) -> None:
    events = hear(demo.stream("eng"), [english[: round(0.9 * RATE)]])
    assert isinstance(events[-1], Endpoint)
    assert events[-1].reason == "end"
    assert said(events)[0][0]


def test_a_stream_without_audio_ends_at_once(demo: Recognizer) -> None:
    events = demo.stream("eng").finish()
    assert [(event.reason, event.at) for event in events] == [("end", 0.0)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_refused_and_the_stream_goes_on(
    demo: Recognizer, english: np.ndarray, bad: float
) -> None:
    stream = demo.stream("eng")
    events = stream.feed(english[:20_000])
    with pytest.raises(AudioError, match="holds NaN or infinity, first at sample 1"):
        stream.feed(np.array([0.1, bad], np.float32))
    events += [*stream.feed(english[20_000:]), *stream.finish()]
    assert said(events) == said(hear(demo.stream("eng"), [english]))


@pytest.mark.parametrize(
    ("piece", "named"),
    [
        (np.zeros((4, 2), np.float32), r"float32\[4, 2\]"),
        (np.zeros(4), r"float64\[4\]"),
        (np.zeros(4, np.uint8), r"uint8\[4\]"),
    ],
)
def test_other_arrays_are_named(demo: Recognizer, piece: np.ndarray, named: str) -> None:
    with pytest.raises(AudioError, match=rf"takes float32\[N\] or int16\[N\], got {named}"):
        demo.stream("eng").feed(piece)


def test_single_samples(demo: Recognizer, english: np.ndarray) -> None:
    short = english[: RATE // 2]
    events = hear(demo.stream("eng"), cut(short, [1] * len(short)))
    assert said(events) == said(hear(demo.stream("eng"), [short]))


def test_a_minute_at_once(demo: Recognizer, english: np.ndarray) -> None:
    minute = np.resize(english, 60 * RATE)
    events = hear(demo.stream("eng"), [minute])
    assert said(events) == said(hear(demo.stream("eng"), cut(minute, [1600] * 999)))


def test_the_rate_may_change(demo: Recognizer, english: np.ndarray) -> None:
    """Half of it at 16 kHz, half at 8 kHz: both halves' words are heard where they are."""
    stream, half = demo.stream("eng"), len(english) // 2
    events = stream.feed(english[:half])
    events += stream.feed(english[half::2], 8_000)
    events += stream.finish()
    assert stream.audio_seconds == pytest.approx(len(english) / RATE, abs=0.01)
    assert said(events)[0] == said(hear(demo.stream("eng"), [english]))[0]


def test_flush_ends_an_utterance_and_the_next_begins(demo: Recognizer, english: np.ndarray) -> None:
    stream = demo.stream("eng", StreamOptions(endpoints=None))
    first = [*stream.feed(english), *stream.flush()]
    second = [*stream.feed(english), *stream.finish()]
    assert [e.reason for e in first + second if isinstance(e, Endpoint)] == ["flush", "end"]
    (heard,), (again,) = said(first), said(second)
    assert again[1] == pytest.approx(len(english) / RATE, abs=0.03)
    # The running level is another by then, so a letter may be.
    assert jiwer.cer(heard[0], again[0]) < 0.15


def test_a_finished_stream_refuses(demo: Recognizer) -> None:
    stream = demo.stream("eng")
    stream.finish()
    for call in (stream.finish, stream.flush, stream.save, lambda: stream.feed(b"")):
        with pytest.raises(StreamError, match="is finished: open another"):
            call()


@pytest.mark.parametrize("damage", [b"", b"\x80", b"not a state"])
def test_what_is_no_state_is_refused(demo: Recognizer, damage: bytes) -> None:
    with pytest.raises(StreamError, match="not a saved stream"):
        demo.restore_stream(damage)


def test_a_state_of_another_model_is_refused(demo: Recognizer, tiny: Recognizer) -> None:
    with pytest.raises(StreamError, match="another model"):
        tiny.restore_stream(demo.stream("eng").save())


def test_silence_ends_an_utterance_once_and_then_costs_nothing(
    demo: Recognizer, english: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = demo.stream("eng")
    runs = []
    encode = stream._model.encode
    monkeypatch.setattr(
        type(stream._model), "encode", lambda _, *rows: runs.append(1) or encode(*rows)
    )
    events = stream.feed(english[: 3 * RATE])
    quiet = np.random.default_rng(0).normal(0, 1e-5, 600 * RATE).astype(np.float32)
    events += stream.feed(quiet[: 10 * RATE])
    computed = len(runs)
    events += [event for _ in range(6) for event in stream.feed(quiet)]  # an hour
    assert len(runs) == computed
    assert [e.reason for e in events if isinstance(e, Endpoint)] == ["pause"]
    again = [*stream.feed(english), *stream.finish()]
    short = demo.stream("eng")
    short.feed(np.concatenate([english[: 3 * RATE], quiet[: 10 * RATE]]))
    expected = [*short.feed(english), *short.finish()]
    assert [text for text, *_ in said(again)] == [text for text, *_ in said(expected)]


def test_rules_end_utterances(demo: Recognizer, english: np.ndarray) -> None:
    spoken = english[: 2 * RATE]
    rules = EndpointOptions(max_seconds=3.0, pause_seconds=9.0)
    events = hear(
        demo.stream("eng", StreamOptions(endpoints=rules)), [np.resize(spoken, 14 * RATE)]
    )
    ends = [event for event in events if isinstance(event, Endpoint)]
    assert {event.reason for event in ends[:-1]} == {"length"}
    lengths = np.diff([0, *[event.at for event in ends]])
    assert max(lengths) <= 3.0 * 1.25 + 0.05
    quiet = np.zeros(5 * RATE, np.float32)
    silent = hear(demo.stream("eng"), [quiet])
    assert next((e.reason, e.at) for e in silent if isinstance(e, Endpoint)) == ("silence", 2.4)


def test_events_are_in_order_and_say_when(demo: Recognizer, english: np.ndarray) -> None:
    events = hear(demo.stream("eng"), cut(english, [1600] * 999))
    for name in ("audio_seconds", "wall_seconds"):
        times = [getattr(event, name) for event in events]
        assert times == sorted(times)
    for event in events:
        words = event.words if isinstance(event, Partial) else ()
        words = event.transcript.words if isinstance(event, Final) else words
        assert all(word.end <= event.audio_seconds + 0.03 for word in words)


@pytest.mark.parametrize("hours", [24 if LONG else 0.2])
def test_hours_take_no_more_memory_and_no_more_time(tiny: Recognizer, hours: float) -> None:
    """Sound without a pause: what is kept of it is bounded by the longest utterance."""
    random = np.random.default_rng(0)
    stream, minute = tiny.stream("eng"), 60 * RATE
    seconds, sizes = [], []
    for _ in range(round(60 * hours)):
        sound = random.normal(0, 0.1, minute).astype(np.float32)
        begin = time.process_time()
        stream.feed(sound)
        seconds.append(time.process_time() - begin)
        sizes.append(len(stream.save()))
    assert max(sizes) < 2 * max(sizes[:3])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    third = max(1, len(seconds) // 3)
    assert np.median(seconds[-third:]) < 2 * np.median(seconds[:third])
    stream.feed(sound)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + (32 << 10)


@pytest.mark.parametrize("rate", [0, -8_000, 999, 1_000_000])
def test_a_rate_that_is_none_leaves_the_stream_as_it_was(
    demo: Recognizer, english: np.ndarray, rate: int
) -> None:
    stream = demo.stream("eng", StreamOptions(sample_format="s16le"))
    content = (english[: 2 * RATE] * 2**15).astype("<i2").tobytes()
    events = stream.feed(content[:7001])
    with pytest.raises(AudioError, match=f"audio came at {rate} Hz, possible are 1000 to 768000"):
        stream.feed(content[7001:], rate)
    events += [*stream.feed(content[7001:]), *stream.finish()]
    whole = demo.stream("eng", StreamOptions(sample_format="s16le"))
    assert said(events) == said(hear(whole, [content]))


class _Blank:
    """Decodes any logits to nothing."""

    def step(self, logits: np.ndarray) -> None:
        pass

    def partial(self, tail: np.ndarray) -> tuple[Hypothesis, int]:
        return self.finish()[0], 0

    def finish(self) -> list[Hypothesis]:
        none = np.zeros(0, np.int64)
        return [Hypothesis(none, none, none, none.astype(np.float32))]


def test_noise_without_a_word_is_let_go(demo: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is computed, unlike silence, but not kept, and told once."""
    stream = demo.stream("eng")
    monkeypatch.setattr(stream._core.spoken, "_decoding", _Blank())
    monkeypatch.setattr(stream._core.spoken, "_start", _Blank)
    monkeypatch.setattr(stream._core.spoken, "speech", lambda logits: np.zeros(len(logits), bool))
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    events, sizes = [], []
    for _ in range(4):
        sizes.append(stream._core.spoken.frames)
        events += [event for event in stream.feed(noise) if isinstance(event, Endpoint)]
    assert max(sizes) <= 2.4 / 0.02
    assert [event.reason for event in events] == ["silence"]


def test_a_step_that_the_device_failed_in_is_done_again(
    demo: Recognizer, english: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while nobody speaks, when the step's audio is listened to for silence again."""
    sound = np.concatenate([english[: 3 * RATE], np.zeros(4 * RATE, np.float32), english])
    expected = hear(demo.stream("eng"), [sound])
    stream, events, calls = demo.stream("eng"), [], itertools.count()
    encode = stream._model.encode

    def sometimes(*arguments: object) -> object:
        if next(calls) % 2:
            raise BackendError("the device is busy")
        return encode(*arguments)

    monkeypatch.setattr(stream._model, "encode", sometimes)
    for piece in cut(sound, [RATE // 10] * 999):
        try:
            events += stream.feed(piece)
        except BackendError:
            events += stream.feed(b"")
    monkeypatch.undo()
    assert said([*events, *stream.finish()]) == said(expected)


def test_keys_and_values_of_another_type_are_refused(demo: Recognizer) -> None:
    stream = demo.stream("eng")
    stream._core.context._ring = HostKvCache(stream._core.context._ring.array.view(np.uint16))
    with pytest.raises(StreamError, match=r"does not fit this engine.*uint16, not float16"):
        demo.restore_stream(stream.save())


def test_keys_and_values_of_another_layout_are_refused(demo: Recognizer) -> None:
    stream = demo.stream("eng")
    ring = stream._core.context._ring
    other = np.zeros((*ring.shape[:2], *ring.shape[-2:]), ring.dtype)
    stream._core.context._ring = HostKvCache(other)
    with pytest.raises(StreamError, match=r"does not fit this engine.*keys and values are"):
        demo.restore_stream(stream.save())


def test_a_model_that_takes_sound_as_it_is_gets_it_so(demo: Recognizer) -> None:
    geometry, sound = demo._model.geometry, np.full(800, 0.25, np.float32)
    heard = AudioBuffer(geometry, NormalizationOptions(), RATE, normalize=False)
    heard.add(sound)
    heard.measure(1)
    np.testing.assert_array_equal(heard.normalized(0, 1), sound[:400])


def test_a_bundle_without_the_graph_streams_in_windows(demo_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(demo_bundle, tmp_path / "without"))
    document = json.loads((bundle / "manifest.json").read_bytes())
    document["graphs"] = [graph for graph in document["graphs"] if graph["name"] != "step"]
    (bundle / "manifest.json").write_text(json.dumps(document))
    with Recognizer.open(bundle) as recognizer:
        with pytest.raises(BundleError, match="has no fp32 step"):
            recognizer.stream("eng")
        context = ContextOptions(kind="window", left_seconds=1, chunk_seconds=1)
        events = hear(
            recognizer.stream("eng", StreamOptions(context=context)), [np.zeros(9000, np.float32)]
        )
        assert [type(event) for event in events] == [Endpoint]
