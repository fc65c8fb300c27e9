"""Pool of streams: equality with single streams, isolation of faults, bounds, and cancellation."""

import contextlib
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool import PooledStream, PoolOptions, StreamPool
from mms_engine.asr.streaming import ContextOptions, StreamOptions
from mms_engine.errors import MmsError, StreamError
from stream_sounds import RATE, cut, ends, run, speech, texts

LANGUAGES = ("eng", "spa", "fra", "ita", "rus")
PIECES = (1600, 480, 7001)


@pytest.fixture
def pool(demo: Recognizer):
    with demo.pool(PoolOptions(admission=False, decode_threads=4)) as made:
        yield made


def sound_of(index: int) -> np.ndarray:
    return speech(LANGUAGES[index % 5], seed=index)[: (6 + index % 4) * RATE]


def result(stream: PooledStream) -> list:
    return texts(stream.events(timeout=60))


@pytest.fixture(scope="module")
def english(demo: Recognizer) -> list:
    """Final texts of a single stream fed `sound_of(0)`."""
    return texts(run(demo.stream("eng"), [sound_of(0)]))


@contextlib.contextmanager
def held(target: object, name: str):
    """Make calls of a method wait until the block ends; yield an event set by the first call."""
    called, ended, method = threading.Event(), threading.Event(), getattr(target, name)

    def wait(*arguments: object) -> object:
        called.set()
        assert ended.wait(60)
        return method(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, wait)
        try:
            yield called
        finally:
            ended.set()


def returns_at_once(call: Callable[[], object]) -> bool:
    """Return whether a call ends by itself although a step is held."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_stream_alone_equals_one_among_32_of_mixed_languages(
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
        alone = run(demo.stream(LANGUAGES[index % 5], chosen[index]), [sound_of(index)])
        assert result(member) == texts(alone), index
    assert len(pool) == 0


@pytest.mark.parametrize("where", ["add", "next_step", "row", "read", "listener"])
def test_error_fails_its_own_stream(pool: StreamPool, english: list, where: str) -> None:
    told, good = [], pool.open("eng")
    bad = pool.open(
        "eng", listener=(lambda e: told.append(e) or 1 / 0) if where == "listener" else None
    )
    if where != "listener":
        setattr(bad._core, where, lambda *_: 1 / 0)
    for member in (bad, good):
        member.feed(sound_of(0))
    good.finish()
    assert result(good) == english
    if where == "listener":
        assert len(told) == 2  # an event, and the error
    else:
        with pytest.raises(MmsError, match="a step of the stream failed: division by zero"):
            list(bad.events(timeout=60))
    with pytest.raises(StreamError, match="has failed: a step of the stream failed: division"):
        bad.feed(sound_of(0))
    assert len(pool) == 0


def test_idle_and_cancelled_streams_do_not_affect_others(pool: StreamPool, english: list) -> None:
    idle, gone, stays = pool.open("eng"), pool.open("spa"), pool.open("eng")
    idle.feed(sound_of(0)[:100])
    gone.feed(np.tile(sound_of(1), 3))
    gone.cancel()
    gone.cancel()
    assert len(pool) == 2
    list(gone.events(timeout=10))
    with pytest.raises(StreamError, match="done"):
        gone.feed(sound_of(1))
    stays.feed(sound_of(0))
    stays.finish()
    assert result(stays) == english


@pytest.mark.parametrize("slow", ["encoder", "decoder"])
def test_feed_does_not_wait_for_a_step(pool: StreamPool, english: list, slow: str) -> None:
    member, sound = pool.open("eng"), sound_of(0)
    target = (pool._model, "encode") if slow == "encoder" else (member._core, "read")
    with held(*target) as called:
        member.feed(sound[: 2 * RATE])
        assert called.wait(60)
        assert returns_at_once(lambda: (member.feed(sound[2 * RATE :]), member.finish()))
    assert result(member) == english


def test_cancel_does_not_wait_for_a_running_batch(pool: StreamPool) -> None:
    """Memory is freed once, by a thread of the pool, after the batch."""
    member, released = pool.open("eng"), []
    release = member._core.release
    member._core.release = lambda: released.append(threading.current_thread().name) or release()
    with held(pool._model, "encode") as called:
        member.feed(sound_of(0))
        assert called.wait(60)
        assert returns_at_once(member.cancel)
        assert len(pool) == 0
        assert released == []
    pool.close()
    assert len(released) == 1
    assert released[0].startswith("mms-decode")


def test_streams_that_cancel_each_other_do_not_deadlock(pool: StreamPool) -> None:
    both_listen, members, cancelled = threading.Barrier(2), [], []

    def listener(other: int) -> Callable[[object], None]:
        def listen(_: object) -> None:
            both_listen.wait(60)
            members[other].cancel()
            cancelled.append(other)

        return listen

    members += [pool.open("eng", listener=listener(1)), pool.open("eng", listener=listener(0))]
    for member in members:
        member.feed(sound_of(0))
    deadline = time.monotonic() + 60
    while len(cancelled) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(cancelled) == [0, 1]
    assert len(pool) == 0


def test_no_event_follows_cancel(pool: StreamPool) -> None:
    for _ in range(20):
        listened, cancelled, late = threading.Event(), threading.Event(), []

        def listen(_: object, listened=listened, cancelled=cancelled, late=late) -> None:
            late.append(cancelled.is_set())
            listened.set()

        member = pool.open("eng", listener=listen)
        member.feed(np.tile(sound_of(0), 2))
        assert listened.wait(60)
        member.cancel()
        cancelled.set()
        time.sleep(0.01)
        assert not any(late)


@pytest.mark.parametrize("listens", [False, True])
def test_requests_and_events_keep_their_order(
    demo: Recognizer, pool: StreamPool, listens: bool
) -> None:
    """Audio behind a flush, another flush and the end may follow at once."""
    told, expected, alone = [], [], demo.stream("eng")
    member = pool.open("eng", listener=told.append if listens else None)
    for index in (0, 5):
        member.feed(sound_of(index))
        member.flush()
        expected += [*alone.feed(sound_of(index)), *alone.flush()]
    member.finish()
    expected += alone.finish()
    events = [*member.events(timeout=60), *told]
    assert list(member.events(timeout=60)) == []
    assert texts(events) == texts(expected)
    assert ends(events) == ends(expected)
    reasons = [reason for reason, _ in ends(events)]
    assert (reasons.count("flush"), reasons[-1]) == (2, "end")
    times = [event.audio_seconds for event in events]
    assert times == sorted(times)


def test_pending_audio_beyond_the_bound_is_refused(demo: Recognizer) -> None:
    with demo.pool(PoolOptions(admission=False, pending_seconds=5)) as pool:
        member = pool.open("eng")
        with held(pool._model, "encode"):
            member.feed(sound_of(0)[: 6 * RATE])
            with pytest.raises(StreamError, match=r"6\.0 s of audio are pending, the limit is 5"):
                member.feed(sound_of(0))
        member.finish()
        assert result(member) == texts(run(demo.stream("eng"), [sound_of(0)[: 6 * RATE]]))


def test_chunk_longer_than_the_bound_is_no_deadlock(demo: Recognizer) -> None:
    context = ContextOptions(kind="window", left_seconds=0, chunk_seconds=5, right_seconds=1)
    with demo.pool(PoolOptions(admission=False, pending_seconds=1)) as pool:
        member = pool.open("eng", StreamOptions(context=context))
        for piece in cut(sound_of(0), [RATE // 2] * 999):
            member.feed(piece)
            time.sleep(0.001)
        member.finish()
        assert result(member)


def test_unread_events_beyond_the_bound_refuse_audio(demo: Recognizer) -> None:
    with demo.pool(PoolOptions(admission=False, unread_events=2)) as pool:
        member, fed = pool.open("eng"), []
        with pytest.raises(StreamError, match=r"\d events are unread, the limit is 2: read"):
            for piece in cut(np.tile(sound_of(0), 20), [RATE] * 999):
                member.feed(piece)
                fed.append(piece)
                while member._fed_seconds - member._used_seconds > 2:
                    time.sleep(0.001)
        member.finish()
        assert result(member) == texts(run(demo.stream("eng"), fed))


def test_close_cancels_all_streams(demo: Recognizer) -> None:
    pool = demo.pool(PoolOptions(admission=False))
    member = pool.open("eng")
    member.feed(sound_of(0))
    pool.close()
    list(member.events(timeout=10))
    assert not any(lane.is_alive() for lane in pool._lanes)
    with pytest.raises(StreamError, match="the pool is closed"):
        pool.open("eng")


def test_thousand_streams_leave_nothing(pool: StreamPool) -> None:
    before = threading.active_count()
    for _ in range(1000):
        pool.open("eng").cancel()
    assert len(pool) == 0
    assert not pool._schedule._waiting
    deadline = time.monotonic() + 5
    while threading.active_count() > before + 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before + 4


@pytest.mark.parametrize(
    "wrong", [{"max_streams": 0}, {"unread_events": 0}, {"lanes": -1}, {"batch_rows": -1}]
)
def test_invalid_bounds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PoolOptions(**wrong)
