"""Schedule of a pool, and the division of cores among lanes."""

import threading
from dataclasses import dataclass

import msgspec
import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool.lanes import Lanes, plan_lanes
from mms_engine.asr.pool.schedule import HEAD_START, Schedule
from mms_engine.bundle.manifest import Wav2Vec2Ctc


@dataclass(frozen=True, eq=False)
class Member:
    priority: int = 0
    chunk_seconds: float = 0.2


def woken(*members: Member, takers: int = 1) -> Schedule[Member]:
    schedule: Schedule[Member] = Schedule(takers)
    for member in members:
        schedule.wake(member)
    return schedule


def test_most_urgent_streams_are_taken_first() -> None:
    patient, early, late, urgent = (Member(*v) for v in ((0, 5.0), (0, 0.2), (0, 0.2), (1, 5.0)))
    schedule = woken(patient, early, late, urgent, early)  # more audio does not postpone it
    assert schedule.take(3) == [urgent, early, late]
    assert schedule.take(3) == [patient]


def test_busy_stream_is_not_handed_out_again_before_done() -> None:
    one, other = Member(), Member()
    schedule = woken(one)
    assert schedule.take(8) == [one]
    schedule.wake(one)
    schedule.wake(other)
    assert schedule.take(8) == [other]
    schedule.done([one, other])
    assert schedule.take(8) == [one]
    schedule.wake(one)
    schedule.forget(one)  # it ended
    schedule.done([one])
    assert (schedule._waiting, schedule._again, schedule._busy) == ({}, {}, set())


def test_takers_share_the_streams() -> None:
    members = [Member() for _ in range(7)]
    schedule = woken(*members, takers=2)
    assert [schedule.take(8) for _ in range(3)] == [members[:4], members[4:6], members[6:]]


def test_low_priority_stream_does_not_starve(monkeypatch: pytest.MonkeyPatch) -> None:
    now, turns, low = 0.0, 0, Member()
    monkeypatch.setattr("time.monotonic", lambda: now)
    schedule = woken(low)
    while True:
        schedule.wake(Member(priority=1))
        if schedule.take(1) == [low]:
            break
        turns, now = turns + 1, now + 1.0
    assert turns == pytest.approx(HEAD_START, abs=1)


def test_close_releases_all_takers() -> None:
    schedule, taken = woken(takers=2), []
    threads = [threading.Thread(target=lambda: taken.append(schedule.take(1))) for _ in range(2)]
    for thread in threads:
        thread.start()
    schedule.close()
    for thread in threads:
        thread.join(10)
    assert taken == [None, None]


def test_lanes_of_small_and_large_encoders(demo: Recognizer) -> None:
    small = demo.bundle.model(Wav2Vec2Ctc)
    large = msgspec.structs.replace(
        small, hidden_size=1280, num_hidden_layers=48, intermediate_size=5120
    )
    assert plan_lanes(small, "cpu", 2) == Lanes(2, 1)
    assert plan_lanes(small, "cpu", 1) == plan_lanes(small, "cuda", 64) == Lanes(1, None)
    assert plan_lanes(large, "cpu", 2) == Lanes(1, None)
    assert plan_lanes(large, "cpu", 64) == Lanes(6, 10)
    assert plan_lanes(large, "cpu", 64, wanted=4) == Lanes(4, 16)
    assert plan_lanes(small, "cpu", 2, wanted=9) == Lanes(2, 1)
