"""Invalid input, failing steps, and unusual but valid use of a stream."""

import contextlib
import itertools
import os
import resource
import time
from collections.abc import Callable

import jiwer
import numpy as np
import pytest

from mms_engine import Recognizer
from mms_engine.asr.streaming import EndpointOptions, Final, Partial, Stream, StreamOptions
from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.encoder.host.steps import HostKvCache
from mms_engine.encoder.interface import StepOutput
from mms_engine.errors import AudioError, BackendError, StreamError
from stream_sounds import RATE, cut, ends, finals, run, speech

LONG = os.environ.get("MMS_LONG") == "1"


@pytest.fixture(scope="module")
def english() -> np.ndarray:
    return speech("eng")


@pytest.fixture(scope="module")
def expected(demo: Recognizer, english: np.ndarray) -> list:
    """Final events of the English audio."""
    return finals(run(demo.stream("eng"), [english]))


def test_end_inside_a_chunk_keeps_its_text(demo: Recognizer, english: np.ndarray) -> None:
    events = run(demo.stream("eng"), [english[: round(0.9 * RATE)]])
    assert events[-1].reason == "end"
    assert finals(events)[0][0]


def test_stream_without_audio_ends(demo: Recognizer) -> None:
    assert ends(demo.stream("eng").finish()) == [("end", 0.0)]


@pytest.mark.parametrize(
    ("piece", "rate", "message"),
    [
        (np.array([0.1, np.nan], np.float32), None, "holds NaN or infinity, first at sample 1"),
        (np.array([0.1, np.inf], np.float32), None, "holds NaN or infinity, first at sample 1"),
        (np.zeros((4, 2), np.float32), None, r"float32\[N\] or int16\[N\], got float32\[4, 2\]"),
        (np.zeros(4), None, r"float32\[N\] or int16\[N\], got float64\[4\]"),
        (np.zeros(4, np.uint8), None, r"float32\[N\] or int16\[N\], got uint8\[4\]"),
        *(
            (np.zeros(9, np.float32), rate, f"sample rate is {rate} Hz, must be 1000 to 768000")
            for rate in (0, -8_000, 999, 1_000_000)
        ),
    ],
)
def test_invalid_audio_leaves_stream_unchanged(
    demo: Recognizer,
    english: np.ndarray,
    expected: list,
    piece: np.ndarray,
    rate: int | None,
    message: str,
) -> None:
    stream = demo.stream("eng")
    events = stream.feed(english[:20_000])
    with pytest.raises(AudioError, match=message):
        stream.feed(piece, rate)
    assert finals([*events, *run(stream, [english[20_000:]])]) == expected


def test_minute_in_one_piece(demo: Recognizer, english: np.ndarray) -> None:
    minute = np.resize(english, 60 * RATE)
    events = run(demo.stream("eng"), [minute])
    assert finals(events) == finals(run(demo.stream("eng"), cut(minute, [1600] * 999)))


def test_sample_rate_may_change(demo: Recognizer, english: np.ndarray, expected: list) -> None:
    """The second half comes at 8 kHz: words of both halves keep their times."""
    stream, half = demo.stream("eng"), len(english) // 2
    events = [*stream.feed(english[:half]), *stream.feed(english[half::2], 8_000)]
    events += stream.finish()
    assert stream.audio_seconds == pytest.approx(len(english) / RATE, abs=0.01)
    assert finals(events)[0] == expected[0]


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


@pytest.mark.parametrize("damage", [b"", b"\x80", b"not a state"])
def test_damaged_state_is_refused(demo: Recognizer, damage: bytes) -> None:
    with pytest.raises(StreamError, match="not a saved stream"):
        demo.restore_stream(damage)


def test_state_of_another_model_is_refused(demo: Recognizer, tiny: Recognizer) -> None:
    with pytest.raises(StreamError, match="another model"):
        tiny.restore_stream(demo.stream("eng").save())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array.view(np.uint16), "uint16, not float16"),
        (lambda array: array[:, :, 0], "keys and values are"),
    ],
)
def test_state_with_another_cache_is_refused(demo: Recognizer, change, message: str) -> None:
    stream = demo.stream("eng")
    stream._core.context._cache = HostKvCache(change(stream._core.context._cache.array))
    with pytest.raises(StreamError, match=f"does not fit this engine.*{message}"):
        demo.restore_stream(stream.save())


def test_silence_is_reported_once_and_then_skipped(
    demo: Recognizer, english: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, steps = demo.stream("eng"), []
    encode = stream._model.encode
    monkeypatch.setattr(stream._model, "encode", lambda *rows: steps.append(1) or encode(*rows))
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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    third = max(1, len(seconds) // 3)
    assert np.median(seconds[-third:]) < 2 * np.median(seconds[:third])
    stream.feed(sound)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + (32 << 10)


class _Blank:
    """Decoder without text."""

    def step(self, logits: np.ndarray) -> None:
        pass

    def partial(self, tail: np.ndarray) -> tuple[Hypothesis, int]:
        return self.finish()[0], 0

    def finish(self) -> list[Hypothesis]:
        none = np.zeros(0, np.int64)
        return [Hypothesis(none, none, none, none.astype(np.float32))]


def test_noise_without_text_is_dropped(demo: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is encoded, unlike silence, but not kept, and reported once."""
    stream = demo.stream("eng")
    utterance = stream._core.utterance
    monkeypatch.setattr(utterance, "_decoding", _Blank())
    monkeypatch.setattr(utterance, "_start", _Blank)
    monkeypatch.setattr(utterance, "speech", lambda logits: np.zeros(len(logits), bool))
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    events, sizes = [], []
    for _ in range(4):
        sizes.append(utterance.frames)
        events += stream.feed(noise)
    assert max(sizes) <= 2.4 / 0.02
    assert [reason for reason, _ in ends(events)] == ["silence"]


@contextlib.contextmanager
def broken(stream: Stream, fails: Callable[[int], bool], *, logits: bool = False):
    """Break the encoder's runs whose number `fails` accepts: by an error, or by NaN logits."""
    encode, calls = stream._model.encode, itertools.count()

    def call(*arguments: object) -> list[StepOutput]:
        outputs = encode(*arguments)
        if not fails(next(calls)):
            return outputs
        if logits:
            return [StepOutput(np.full_like(o.logits, np.nan), o.update) for o in outputs]
        raise BackendError("the device is busy")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream._model, "encode", call)
        yield


def test_failed_steps_run_again(demo: Recognizer, english: np.ndarray) -> None:
    """Also in silence, where the level detector sees the step's audio again."""
    sound = np.concatenate([english[: 3 * RATE], np.zeros(4 * RATE, np.float32), english])
    expected = run(demo.stream("eng"), [sound])
    stream, events = demo.stream("eng"), []
    with broken(stream, lambda number: number % 2 == 1):
        for piece in cut(sound, [RATE // 10] * 999):
            try:
                events += stream.feed(piece)
            except BackendError:
                events += stream.feed(b"")
    assert finals([*events, *stream.finish()]) == finals(expected)


@pytest.mark.parametrize("failing", ["feed", "flush", "finish"])
def test_events_before_a_failed_step_are_returned_by_the_next_call(
    demo: Recognizer, english: np.ndarray, failing: str
) -> None:
    def events(failing: str | None) -> list[tuple]:
        stream, found = demo.stream("eng"), []
        calls = {
            "feed": (lambda: stream.feed(english[: 10 * RATE]), lambda: stream.feed(b"")),
            "flush": (stream.flush, lambda: stream.feed(b"")),
            "more": (lambda: stream.feed(english[: 3 * RATE]), None),
            "finish": (stream.finish, stream.finish),
        }
        for name, (call, again) in calls.items():
            if name == failing:
                number = 8 if name == "feed" else 0
                with (
                    broken(stream, lambda n, number=number: n == number),
                    pytest.raises(BackendError),
                ):
                    call()
                call = again
            found += call()
        return [(e.type, getattr(e, "text", ""), getattr(e, "at", 0)) for e in found]

    assert events(failing) == events(None)


def test_undecodable_chunk_ends_its_utterance_and_keeps_later_times(
    demo: Recognizer, english: np.ndarray, expected: list
) -> None:
    stream, events, errors = demo.stream("eng"), [], []
    with broken(stream, lambda number: number == 2, logits=True):
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
    for found, whole in zip(finals(events)[-2:], expected[-2:], strict=True):
        times = [{word.text: word.start for word in words} for _, _, words in (found, whole)]
        common = times[0].keys() & times[1].keys()  # the context differs, so some words may
        assert len(common) > len(times[1]) / 2
        for word in common:
            assert times[0][word] == pytest.approx(times[1][word], abs=0.1)
