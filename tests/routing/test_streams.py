"""Streams that find their own language."""

import itertools
import time
from collections.abc import Iterable

import numpy as np
import pytest

from mms_engine import (
    Endpoint,
    Event,
    Final,
    Identifier,
    LanguageChange,
    LanguageError,
    Partial,
    Recognizer,
    Router,
    RoutingOptions,
    Stream,
    StreamError,
    StreamOptions,
)
from mms_engine.asr.pool import PoolOptions
from voices import HIGH, LOW, MIDDLE, RATE, pause, voice

BOTH = np.concatenate([pause(1.0), voice(7, LOW, 1), pause(0.4), voice(7, HIGH, 2), pause(0.5)])
CHANGE = 8.4
"""Seconds at which the second voice of `BOTH` begins."""


def run(stream: Stream, sound: np.ndarray, size: int = 1600) -> list[Event]:
    pieces = range(0, len(sound), size)
    fed = [event for start in pieces for event in stream.feed(sound[start : start + size])]
    return [*fed, *stream.finish()]


def changes(events: Iterable[Event]) -> list[tuple[str | None, str, float, float]]:
    return [
        (one.language, one.label, one.at, one.probability)
        for one in events
        if isinstance(one, LanguageChange)
    ]


def outcome(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """Return all that must not depend on how a stream was computed."""
    events = list(events)
    finals = [event for event in events if isinstance(event, Final)]
    texts = [(e.start, e.transcript.language, e.transcript.text) for e in finals]
    ends = [(event.reason, event.at) for event in events if isinstance(event, Endpoint)]
    decided = [(code, at, round(share, 3)) for code, _, at, share in changes(events)]
    return [*texts, *ends, *decided]


@pytest.fixture(scope="module")
def whole(router: Router) -> list[Event]:
    return run(router.stream(), BOTH)


def test_language_is_decided_on_first_speech_and_followed(whole: list[Event]) -> None:
    first, second = changes(whole)
    assert (first[0], second[0]) == ("eng", "swh")
    assert 0.5 <= first[2] <= 1.1
    assert abs(second[2] - CHANGE) <= 1.0
    decided = [event for event in whole if isinstance(event, LanguageChange)]
    assert decided[0].audio_seconds <= 1.0 + 2.0
    assert decided[1].audio_seconds <= CHANGE + 3.0


def test_no_text_before_the_language_is_known(whole: list[Event]) -> None:
    assert isinstance(whole[0], LanguageChange)


def test_finals_have_language_and_probability(whole: list[Event]) -> None:
    finals = [event for event in whole if isinstance(event, Final)]
    languages = [final.transcript.language for final in finals]
    assert [code for code, _ in itertools.groupby(languages)] == ["eng", "swh"]
    assert all(0.5 < (final.transcript.language_probability or 0) <= 1 for final in finals)
    assert all(word.start < CHANGE + 1 for f in finals[:1] for word in f.transcript.words)


def test_utterance_before_a_change_ends_with_its_reason(whole: list[Event]) -> None:
    ends = [event for event in whole if isinstance(event, Endpoint)]
    assert [end.reason for end in ends if end.reason == "language"] == ["language"]


def test_stable_text_is_never_revised_by_a_change(whole: list[Event]) -> None:
    stable = ""
    for event in whole:
        if isinstance(event, Partial):
            assert event.text.startswith(stable)
            stable = event.stable
        elif isinstance(event, Final):
            assert event.transcript.text.startswith(stable)
        if isinstance(event, Endpoint | Final):
            stable = ""


@pytest.mark.parametrize("latency", ["low", "balanced", "accurate"])
def test_result_does_not_depend_on_chunking(router: Router, latency: str) -> None:
    options = StreamOptions(latency=latency)
    whole = outcome(run(router.stream(options), BOTH, len(BOTH)))
    assert [code for *_, code in whole if code == "swh"] or whole
    assert outcome(run(router.stream(options), BOTH, 160)) == whole
    assert outcome(run(router.stream(options), BOTH, 5003)) == whole


def test_pooled_stream_changes_its_language_as_early_as_one_of_its_own(
    router: Router, whole: list[Event]
) -> None:
    with router.pool() as pool:
        stream = pool.open("auto")
        for start in range(0, len(BOTH), 1600):
            stream.feed(BOTH[start : start + 1600])
            while stream._is_in_step or stream._is_due:
                time.sleep(0.001)
        stream.finish()
        pooled = list(stream.events(timeout=10))
    assert [(e.label, e.at, e.audio_seconds) for e in pooled if isinstance(e, LanguageChange)] == [
        (e.label, e.at, e.audio_seconds) for e in whole if isinstance(e, LanguageChange)
    ]


def test_flush_decides_what_is_undecided(router: Router) -> None:
    stream = router.stream()
    assert stream.feed(voice(0.6, HIGH, 5)) == []
    events = stream.flush()
    assert [code for code, *_ in changes(events)] == ["swh"]
    assert any(isinstance(event, Endpoint) for event in events)
    stream.close()


def test_silence_has_no_language(router: Router) -> None:
    events = run(router.stream(), pause(6.0))
    assert [event.type for event in events] == ["endpoint"]


def test_silence_does_not_change_the_language(router: Router) -> None:
    sound = np.concatenate([voice(4, LOW, 3), pause(20.0), voice(4, LOW, 4)])
    assert [code for code, *_ in changes(run(router.stream(), sound))] == ["eng"]


def test_one_short_sound_does_not_change_the_language(router: Router) -> None:
    sound = np.concatenate([voice(8, LOW, 3), voice(0.4, HIGH, 1), voice(8, LOW, 4)])
    assert [code for code, *_ in changes(run(router.stream(), sound))] == ["eng"]


def test_without_switching_the_first_decision_stays(
    recognizer: Recognizer, identifier: Identifier
) -> None:
    router = Router(recognizer, identifier, RoutingOptions(switching=False))
    assert [code for code, *_ in changes(run(router.stream(), BOTH))] == ["eng"]


def test_language_without_adapter_is_reported_and_has_no_text(router: Router) -> None:
    sound = np.concatenate([voice(6, MIDDLE, 1), pause(0.4), voice(6, LOW, 2)])
    events = run(router.stream(), sound)
    first, second = changes(events)
    assert first[:2] == (None, "fra")
    assert second[0] == "eng"
    finals = [event for event in events if isinstance(event, Final)]
    assert {final.transcript.language for final in finals} == {"eng"}


def test_nearest_language_with_adapter_is_taken_if_asked(
    recognizer: Recognizer, identifier: Identifier
) -> None:
    router = Router(recognizer, identifier, RoutingOptions(nearest=True))
    (code, *_), *_ = changes(run(router.stream(), voice(4, MIDDLE, 1)))
    assert code in ("eng", "swh")


def test_saved_stream_continues_with_its_language(router: Router, whole: list[Event]) -> None:
    for cut in (8_000, 30_000, 100_000, 150_000, 170_000, 200_000):
        first = router.stream()
        events = first.feed(BOTH[:cut])
        second = router.restore_stream(first.save())
        first.close()
        events += run(second, BOTH[cut:])
        assert outcome(events) == outcome(whole)


def test_saved_stream_needs_the_same_languages(router: Router, recognizer: Recognizer) -> None:
    stream = router.stream()
    stream.feed(BOTH[:50_000])
    state = stream.save()
    with pytest.raises(StreamError, match="languages to choose from"):
        router.restore_stream(state, "auto:eng,swh")
    with pytest.raises(LanguageError, match="Router"):
        recognizer.restore_stream(state)


def test_stream_in_auto_needs_a_router(recognizer: Recognizer) -> None:
    with pytest.raises(LanguageError, match="Router"):
        recognizer.stream("auto")


def test_pool_equals_single_streams(router: Router, whole: list[Event]) -> None:
    other = np.concatenate([voice(5, HIGH, 8), pause(0.6), voice(5, LOW, 9)])
    alone = outcome(run(router.stream(), other))
    with router.pool(PoolOptions(admission=False)) as pool:
        streams = [pool.open("auto") for _ in range(5)]
        given = pool.open("eng")
        sounds = [BOTH, other, BOTH, other, BOTH, BOTH]
        for start in range(0, len(BOTH), 4000):
            for stream, sound in zip([*streams, given], sounds, strict=True):
                stream.feed(sound[start : start + 4000])
        for stream in [*streams, given]:
            stream.finish()
        found = [outcome(stream.events(timeout=120)) for stream in streams]
    assert found == [outcome(whole), alone, outcome(whole), alone, outcome(whole)]


def test_failed_identification_is_repeated(
    router: Router, whole: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mms_engine import BackendError

    finder = router.finder()
    good, calls = finder.logits, itertools.count()

    def flaky(windows):  # type: ignore[no-untyped-def]
        if next(calls) % 2 == 0:
            raise BackendError("the device failed")
        return good(windows)

    finder.logits = flaky  # type: ignore[method-assign]
    stream = router._recognizer.stream("auto", finder=finder)
    events: list[Event] = []
    for start in range(0, len(BOTH), RATE):
        piece = BOTH[start : start + RATE]
        while True:
            try:
                events += stream.feed(piece)
            except BackendError:
                piece = piece[:0]
            else:
                break
    while True:
        try:
            events += stream.finish()
            break
        except BackendError:
            continue
    assert outcome(events) == outcome(whole)
