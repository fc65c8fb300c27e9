"""Invalid input, failing steps, and unusual but valid use of a stream."""

import itertools
import os
import time
from collections.abc import Callable
from types import SimpleNamespace

import jiwer
import numpy as np
import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool import PoolOptions
from mms_engine.asr.streaming import EndpointOptions, Final, Partial, Stream, StreamOptions
from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.encoder.host.steps import HostKvCache
from mms_engine.encoder.interface import StepOutput
from mms_engine.errors import AudioError, BackendError, StreamError
from peak_memory import begin_peak, peak_bytes
from stream_sounds import RATE, count_steps, cut, ends, finals, run, speech, texts

LONG = os.environ.get("MMS_LONG") == "1"


@pytest.fixture(scope="module")
def english() -> np.ndarray:
    return speech("eng")


@pytest.fixture(scope="module")
def expected(demo: Recognizer, english: np.ndarray) -> list:
    """Final texts of the English audio."""
    return texts(run(demo.stream("eng"), [english]))


def test_end_inside_a_chunk_keeps_its_text(demo: Recognizer, english: np.ndarray) -> None:
    events = run(demo.stream("eng"), [english[: round(0.9 * RATE)]])
    assert events[-1].reason == "end"
    assert finals(events)[0][0]
    assert ends(demo.stream("eng").finish()) == [("end", 0.0)]


_KINDS = r"float32\[N\] or int16\[N\], got "


@pytest.mark.parametrize(
    ("piece", "rate", "message"),
    [
        (np.array([0.1, np.nan], np.float32), None, "holds NaN or infinity, first at sample 1"),
        (np.array([0.1, np.inf], np.float32), None, "holds NaN or infinity, first at sample 1"),
        (np.zeros((4, 2), np.float32), None, _KINDS + r"float32\[4, 2\]"),
        (np.zeros(4), None, _KINDS + r"float64\[4\]"),
        (np.zeros(4, np.uint8), None, _KINDS + r"uint8\[4\]"),
        (b"", 0, "sample rate is 0 Hz, must be 1000 to 768000"),
        (b"", -8_000, "sample rate is -8000 Hz"),
        (b"", 999, "sample rate is 999 Hz"),
        (b"", 1_000_000, "sample rate is 1000000 Hz"),
    ],
)
@pytest.mark.parametrize("pooled", [False, True])
def test_invalid_audio_leaves_stream_unchanged(
    demo: Recognizer, english: np.ndarray, expected: list, piece, rate, message: str, pooled: bool
) -> None:
    with demo.pool(PoolOptions(admission=False)) as pool:
        stream = pool.open("eng") if pooled else demo.stream("eng")
        events = [stream.feed(english[:20_000])]
        with pytest.raises(AudioError, match=message):
            stream.feed(piece, rate)
        events += [stream.feed(english[20_000:]), stream.finish()]
        found = stream.events(timeout=60) if pooled else itertools.chain(*events)
        assert texts(found) == expected


def test_sample_rate_may_change(demo: Recognizer, english: np.ndarray, expected: list) -> None:
    """The second half comes at 8 kHz: words of both halves keep their times."""
    stream, half = demo.stream("eng"), len(english) // 2
    events = [*stream.feed(english[:half]), *stream.feed(english[half::2], 8_000)]
    events += stream.finish()
    assert stream.audio_seconds == pytest.approx(len(english) / RATE, abs=0.01)
    assert texts(events)[0] == expected[0]


def test_flush_ends_an_utterance_and_the_next_begins(demo: Recognizer, english: np.ndarray) -> None:
    stream = demo.stream("eng", StreamOptions(endpoints=None))
    first = [*stream.feed(english), *stream.flush()]
    second = [*stream.feed(english), *stream.finish()]
    assert [reason for reason, _ in ends(first + second)] == ["flush", "end"]
    (one,), (two,) = finals(first), finals(second)
    assert two[1] == pytest.approx(len(english) / RATE, abs=0.03)
    # The running level differs by then, so single letters may.
    assert jiwer.cer(one[0], two[0]) < 0.15


def test_finished_stream_refuses_calls(demo: Recognizer) -> None:
    stream = demo.stream("eng")
    stream.finish()
    for call in (stream.finish, stream.flush, stream.save, lambda: stream.feed(b"")):
        with pytest.raises(StreamError, match="is finished: open another"):
            call()


def _saved(demo: Recognizer, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    stream = demo.stream("eng")
    stream._core.context._cache = HostKvCache(change(stream._core.context._cache.array))
    return stream.save()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda *_: b"", "not a saved stream"),
        (lambda *_: b"\x80", "not a saved stream"),
        (lambda *_: b"not a state", "not a saved stream"),
        (lambda _, tiny: tiny.stream("eng").save(), "another model"),
        (lambda demo, _: _saved(demo, lambda a: a.view(np.uint16)), "fit.*uint16, not float16"),
        (lambda demo, _: _saved(demo, lambda a: a[:, :, 0]), "fit.*keys and values are"),
    ],
)
def test_invalid_state_is_refused(demo: Recognizer, tiny: Recognizer, state, message: str) -> None:
    with pytest.raises(StreamError, match=message):
        demo.restore_stream(state(demo, tiny))


def test_silence_is_reported_once_and_then_skipped(demo: Recognizer, english: np.ndarray) -> None:
    stream = demo.stream("eng")
    steps = count_steps(stream)
    events = stream.feed(english[: 3 * RATE])
    quiet = np.random.default_rng(0).normal(0, 1e-5, 600 * RATE).astype(np.float32)
    events += stream.feed(quiet[: 10 * RATE])
    computed = len(steps)
    events += [event for _ in range(6) for event in stream.feed(quiet)]  # an hour
    assert len(steps) == computed
    assert [reason for reason, _ in ends(events)] == ["pause"]
    after_an_hour = run(stream, [english])
    short = demo.stream("eng")
    short.feed(np.concatenate([english[: 3 * RATE], quiet[: 10 * RATE]]))
    after_seconds = run(short, [english])
    assert [text for text, *_ in finals(after_an_hour)] == [t for t, *_ in finals(after_seconds)]


def test_endpoint_rules_end_utterances(demo: Recognizer, english: np.ndarray) -> None:
    rules = EndpointOptions(max_seconds=3.0, pause_seconds=9.0)
    stream = demo.stream("eng", StreamOptions(endpoints=rules))
    found = ends(run(stream, [np.resize(english[: 2 * RATE], 14 * RATE)]))
    assert {reason for reason, _ in found[:-1]} == {"length"}
    assert max(np.diff([0, *[at for _, at in found]])) <= 3.0 * 1.25 + 0.05
    silent = run(demo.stream("eng"), [np.zeros(5 * RATE, np.float32)])
    assert ends(silent)[0] == ("silence", 2.4)


def test_events_are_ordered_in_time(demo: Recognizer, english: np.ndarray) -> None:
    events = run(demo.stream("eng"), cut(english, [1600] * 999))
    for name in ("audio_seconds", "wall_seconds"):
        times = [getattr(event, name) for event in events]
        assert times == sorted(times)
    for event in events:
        words = event.words if isinstance(event, Partial) else ()
        words = event.transcript.words if isinstance(event, Final) else words
        assert all(word.end <= event.audio_seconds + 0.03 for word in words)


@pytest.mark.parametrize("hours", [24 if LONG else 0.2])
def test_memory_and_time_stay_bounded_for_hours(tiny: Recognizer, hours: float) -> None:
    """Audio without a pause: state is bounded by the longest utterance."""
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
    third = max(1, len(seconds) // 3)
    assert np.median(seconds[-third:]) < 2 * np.median(seconds[:third])
    begin = begin_peak()
    stream.feed(sound)
    assert peak_bytes() - begin < 32 << 20


def test_noise_without_text_is_dropped(demo: Recognizer) -> None:
    """Noise is encoded, unlike silence, but not kept, and reported once."""
    stream, none = demo.stream("eng"), np.zeros(0, np.int64)
    nothing = Hypothesis(none, none, none, none.astype(np.float32))
    utterance = stream._core.utterance
    utterance._start = lambda: SimpleNamespace(
        step=lambda _: None, partial=lambda _: (nothing, 0), finish=lambda: [nothing]
    )
    utterance.begin(0)
    utterance.speech = lambda logits: np.zeros(len(logits), bool)
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    events, sizes = [], []
    for _ in range(4):
        sizes.append(utterance.frames)
        events += stream.feed(noise)
    assert max(sizes) <= 2.4 / 0.02
    assert [reason for reason, _ in ends(events)] == ["silence"]


def break_steps(stream: Stream, fails: Callable[[int], bool], *, logits: bool = False) -> None:
    """Break the encoder's runs whose number `fails` accepts: by an error, or by NaN logits."""
    encode, calls = stream._model.encode, itertools.count()

    def call(*arguments: object) -> list[StepOutput]:
        outputs = encode(*arguments)
        if not fails(next(calls)):
            return outputs
        if logits:
            return [StepOutput(np.full_like(o.logits, np.nan), o.update) for o in outputs]
        raise BackendError("the device is busy")

    stream._model.encode = call


def test_failed_steps_run_again(demo: Recognizer, english: np.ndarray) -> None:
    """Also in silence, where the level detector sees the step's audio again."""
    sound = np.concatenate([english[: 3 * RATE], np.zeros(4 * RATE, np.float32), english])
    stream, events = demo.stream("eng"), []
    break_steps(stream, lambda number: number % 2 == 1)
    calls = [lambda p=p: stream.feed(p) for p in cut(sound, [RATE // 10] * 999)]
    for call in [*calls, stream.finish]:
        try:
            events += call()
        except BackendError:
            events += stream.finish() if call == stream.finish else stream.feed(b"")
    assert finals(events) == finals(run(demo.stream("eng"), [sound]))


@pytest.mark.parametrize("failing", ["feed", "flush", "finish"])
def test_events_before_a_failed_step_are_returned_by_the_next_call(
    demo: Recognizer, english: np.ndarray, failing: str
) -> None:
    def events(failing: str | None) -> list[tuple]:
        stream, found = demo.stream("eng"), []
        calls = {
            "feed": lambda: stream.feed(english[: 10 * RATE]),
            "flush": stream.flush,
            "more": lambda: stream.feed(english[: 3 * RATE]),
            "finish": stream.finish,
        }
        for name, call in calls.items():
            if name == failing:
                break_steps(stream, lambda number: number == (8 if failing == "feed" else 0))
                with pytest.raises(BackendError):
                    call()
                call = stream.finish if failing == "finish" else lambda: stream.feed(b"")
            found += call()
        return [(e.type, getattr(e, "text", ""), getattr(e, "at", 0)) for e in found]

    assert events(failing) == events(None)


def test_undecodable_chunk_ends_its_utterance_and_keeps_later_times(
    demo: Recognizer, english: np.ndarray, expected: list
) -> None:
    stream, events, errors = demo.stream("eng"), [], []
    break_steps(stream, lambda number: number == 2, logits=True)
    for piece in cut(english, [RATE // 10] * 999):
        try:
            events += stream.feed(piece)
        except BackendError as error:
            errors.append(str(error))
    events += stream.finish()
    (message,) = errors
    assert "cannot be decoded" in message
    assert ends(events)[0] == ("error", pytest.approx(2 * 0.64))
    assert finals(events)[0][0] == expected[0][0][: len(finals(events)[0][0])]
    for found, whole in zip(texts(events)[-2:], expected[-2:], strict=True):
        times = [{text: start for text, start, _ in words} for _, _, words in (found, whole)]
        common = times[0].keys() & times[1].keys()  # the context differs, so some words may
        assert len(common) > len(times[1]) / 2
        for word in common:
            assert times[0][word] == pytest.approx(times[1][word], abs=0.1)
