"""Many streams over one recogniser: company changes nothing, failures stay where they are."""

import threading
import time

import numpy as np
import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool import PoolOptions, StreamPool
from mms_engine.asr.streaming import ContextOptions, Endpoint, Final, StreamOptions
from mms_engine.errors import AudioError, MmsError, StreamError
from stream_sounds import RATE, cut, hear, said, speech, texts

LANGUAGES = ("eng", "spa", "fra", "ita", "rus")
PIECES = (1600, 480, 7001)


@pytest.fixture
def pool(demo: Recognizer):
    with demo.pool(PoolOptions(admission=False)) as made:
        yield made


def sound_of(index: int) -> np.ndarray:
    return speech(LANGUAGES[index % 5], seed=index)[: (6 + index % 4) * RATE]


def test_a_stream_alone_equals_one_among_32_of_mixed_languages(
    demo: Recognizer, pool: StreamPool
) -> None:
    latencies = ("low", "balanced", "accurate")
    chosen = [StreamOptions(latency=latencies[i % 3]) for i in range(33)]
    members = [pool.open(LANGUAGES[i % 5], chosen[i], priority=i % 2) for i in range(33)]
    pieces = [list(cut(sound_of(i), PIECES * 999)) for i in range(33)]
    for turn in range(max(map(len, pieces))):
        for member, own in zip(members, pieces, strict=True):
            if turn < len(own):
                member.feed(own[turn])
    for member in members:
        member.finish()
    for index, member in enumerate(members):
        alone = hear(demo.stream(LANGUAGES[index % 5], chosen[index]), [sound_of(index)])
        assert texts(member.events(timeout=60)) == texts(alone), index
    assert len(pool) == 0


def test_one_that_fails_takes_no_other_with_it(
    demo: Recognizer, pool: StreamPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = pool.open("eng"), pool.open("eng")
    monkeypatch.setattr(bad._core, "read", lambda *_: 1 / 0)
    sound = sound_of(0)
    for member in (good, bad):
        member.feed(sound)
    with pytest.raises(MmsError, match="a step of the stream failed: division by zero"):
        list(bad.events(timeout=60))
    with pytest.raises(StreamError, match="has failed: a step"):
        bad.feed(sound)
    good.finish()
    assert said(good.events(timeout=60)) == said(hear(demo.stream("eng"), [sound]))


def test_a_row_that_the_encoder_refuses_fails_alone(
    demo: Recognizer, pool: StreamPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = pool.open("eng"), pool.open("eng")
    monkeypatch.setattr(bad._core, "row", lambda *_: 1 / 0)
    for member in (good, bad):
        member.feed(sound_of(0))
    with pytest.raises(MmsError, match="division by zero"):
        list(bad.events(timeout=60))
    good.finish()
    assert said(good.events(timeout=60)) == said(hear(demo.stream("eng"), [sound_of(0)]))


def test_audio_that_is_none_leaves_the_stream_as_it_was(demo: Recognizer, pool: StreamPool) -> None:
    member, sound = pool.open("eng"), sound_of(0)
    member.feed(sound[:9000])
    with pytest.raises(AudioError, match="NaN or infinity, first at sample 3"):
        member.feed(np.array([0, 0, 0, np.nan], np.float32))
    member.feed(sound[9000:])
    member.finish()
    assert said(member.events(timeout=60)) == said(hear(demo.stream("eng"), [sound]))


def test_events_go_to_the_listener_in_order(pool: StreamPool) -> None:
    events, ended = [], threading.Event()

    def listen(event: object) -> None:
        events.append(event)
        if getattr(event, "reason", "") == "end":
            ended.set()

    member = pool.open("eng", listener=listen)
    member.feed(sound_of(0))
    member.finish()
    assert ended.wait(60)
    times = [event.audio_seconds for event in events]
    assert times == sorted(times)
    assert any(isinstance(event, Final) for event in events)


def test_cancel_lets_go_at_once_and_others_go_on(demo: Recognizer, pool: StreamPool) -> None:
    gone, stays = pool.open("eng"), pool.open("spa")
    gone.feed(np.tile(sound_of(0), 3))
    gone.cancel()
    assert len(pool) == 1
    list(gone.events(timeout=10))
    with pytest.raises(StreamError, match="done"):
        gone.feed(sound_of(0))
    stays.feed(sound_of(1))
    stays.finish()
    assert said(stays.events(timeout=60)) == said(hear(demo.stream("spa"), [sound_of(1)]))


def test_one_that_sends_nothing_keeps_nobody_waiting(pool: StreamPool) -> None:
    late, prompt = pool.open("eng"), pool.open("eng")
    late.feed(sound_of(0)[:100])
    prompt.feed(sound_of(0))
    prompt.finish()
    assert said(prompt.events(timeout=60))
    late.cancel()


def test_more_than_may_wait_is_refused_and_nothing_is_lost(demo: Recognizer) -> None:
    with demo.pool(PoolOptions(admission=False, pending_seconds=5)) as pool:
        member = pool.open("eng")
        with pool._schedule._changed:  # the worker cannot take anything now
            member._core.accept(np.zeros(6 * RATE, np.float32))
            with pytest.raises(StreamError, match=r"6\.0 s of audio wait already, the limit is 5"):
                member.feed(sound_of(0))
        member.finish()
        list(member.events(timeout=60))


def test_a_full_pool_refuses(demo: Recognizer) -> None:
    with demo.pool(PoolOptions(admission=False, max_streams=2)) as pool:
        first, _ = pool.open("eng"), pool.open("eng")
        with pytest.raises(StreamError, match="2 streams are open, the limit"):
            pool.open("eng")
        first.cancel()
        pool.open("eng")


def test_a_machine_that_could_not_keep_up_refuses_and_says_what_it_holds(
    demo: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {1: 0.2, 2: 0.25}

    def slow(self: object, row: object, samples: object, language: str, count: int) -> float:
        return times.get(count, 9.0)

    monkeypatch.setattr("mms_engine.asr.pool.capacity.Capacity._time", slow)
    with demo.pool(PoolOptions(lanes=1)) as pool:
        for _ in range(4):  # 2 rows in 0.25 s, a chunk of 0.64 s of which 0.8 may be used
            pool.open("eng")
        with pytest.raises(StreamError, match="holds 4 such streams in real time, and 4 are open"):
            pool.open("eng")
    with demo.pool(PoolOptions(lanes=1)) as pool:
        assert pool.sentence("eng") == "this machine holds 4 such streams in real time"
    times.update({1: 0.6, 2: 1.2})
    with (
        demo.pool() as pool,
        pytest.raises(StreamError, match=r"holds no such stream in real time"),
    ):
        pool.open("eng")


def test_close_ends_all(demo: Recognizer) -> None:
    pool = demo.pool(PoolOptions(admission=False))
    member = pool.open("eng")
    member.feed(sound_of(0))
    pool.close()
    list(member.events(timeout=10))
    assert not any(worker.is_alive() for worker in pool._workers)
    with pytest.raises(StreamError, match="the pool is closed"):
        pool.open("eng")


def test_a_thousand_streams_come_and_go_without_growth(pool: StreamPool) -> None:
    before = threading.active_count()
    for _ in range(1000):
        pool.open("eng").cancel()
    assert len(pool) == 0
    assert not pool._schedule._awake
    deadline = time.monotonic() + 5
    while threading.active_count() > before + 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before + 4


def test_a_listener_that_raises_fails_its_own_stream(demo: Recognizer, pool: StreamPool) -> None:
    told = []

    def listen(event: object) -> None:
        told.append(event)
        raise RuntimeError("the listener broke")

    bad, good = pool.open("eng", listener=listen), pool.open("eng")
    for member in (bad, good):
        member.feed(sound_of(0))
        member.finish()
    assert texts(good.events(timeout=60)) == texts(hear(demo.stream("eng"), [sound_of(0)]))
    assert "the listener broke" in str(bad.error)
    assert len(told) == 2  # an event, and the error
    assert len(pool) == 0


def test_an_error_between_steps_fails_its_own_stream(
    demo: Recognizer, pool: StreamPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = pool.open("eng"), pool.open("eng")
    monkeypatch.setattr(bad._core, "next_step", lambda: 1 / 0)
    for member in (bad, good):
        member.feed(sound_of(0))
    with pytest.raises(MmsError, match="division by zero"):
        list(bad.events(timeout=60))
    good.finish()
    assert texts(good.events(timeout=60)) == texts(hear(demo.stream("eng"), [sound_of(0)]))


def test_a_flush_needs_no_waiting(demo: Recognizer, pool: StreamPool) -> None:
    """Audio behind it, another flush and the end may follow at once."""
    member, alone = pool.open("eng"), demo.stream("eng")
    expected = []
    for index in (0, 5):
        sound = sound_of(index)
        member.feed(sound)
        member.flush()
        expected += [*alone.feed(sound), *alone.flush()]
    member.finish()
    expected += alone.finish()
    events = list(member.events(timeout=60))
    assert texts(events) == texts(expected)
    assert reasons(events) == reasons(expected)
    assert reasons(events)[-1] == ("end", expected[-1].at)
    assert [reason for reason, _ in reasons(events)].count("flush") == 2


def reasons(events: list) -> list[tuple[str, float]]:
    return [(event.reason, event.at) for event in events if isinstance(event, Endpoint)]


def test_nothing_is_told_after_cancel(pool: StreamPool) -> None:
    for _ in range(20):
        told, gone, late = threading.Event(), threading.Event(), []

        def listen(_: object, told=told, gone=gone, late=late) -> None:
            late.append(gone.is_set())
            told.set()

        member = pool.open("eng", listener=listen)
        member.feed(np.tile(sound_of(0), 2))
        assert told.wait(60)
        member.cancel()
        gone.set()
        assert not any(late)
    member = pool.open("eng")
    member.finish()
    assert list(member.events(timeout=60))
    assert not any(late)


def test_events_may_be_asked_for_after_the_end(pool: StreamPool) -> None:
    member = pool.open("eng")
    member.finish()
    assert [event.reason for event in member.events(timeout=60)] == ["end"]
    assert list(member.events(timeout=60)) == []


def test_a_chunk_longer_than_what_may_wait_is_no_deadlock(demo: Recognizer) -> None:
    chosen = StreamOptions(
        context=ContextOptions(kind="window", left_seconds=0, chunk_seconds=5, right_seconds=1)
    )
    with demo.pool(PoolOptions(admission=False, pending_seconds=1)) as pool:
        member = pool.open("eng", chosen)
        for piece in cut(sound_of(0), [RATE // 2] * 999):
            member.feed(piece)
            time.sleep(0.001)
        member.finish()
        assert said(member.events(timeout=60))


def test_events_that_nobody_reads_refuse_audio_and_none_is_lost(demo: Recognizer) -> None:
    alone, sound = demo.stream("eng"), sound_of(0)
    with demo.pool(PoolOptions(admission=False, unread_events=2)) as pool:
        member, fed = pool.open("eng"), []
        with pytest.raises(StreamError, match=r"\d events wait to be read, the limit is 2: read"):
            for piece in cut(np.tile(sound, 20), [RATE] * 999):
                member.feed(piece)
                fed.append(piece)
                while member._core.pending_seconds > 2:
                    time.sleep(0.001)
        member.finish()
        assert texts(member.events(timeout=60)) == texts(hear(alone, fed))


def test_a_pool_without_room_is_none() -> None:
    for wrong in ({"max_streams": 0}, {"unread_events": 0}, {"lanes": -1}, {"batch_rows": -1}):
        with pytest.raises(ValueError, match=r"a pool needs room|are not negative"):
            PoolOptions(**wrong)
