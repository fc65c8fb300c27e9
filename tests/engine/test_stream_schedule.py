"""Whose turn it is, and how cores are shared out."""

import threading
from dataclasses import dataclass

import msgspec
import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool.lanes import Lanes, plan_lanes
from mms_engine.asr.pool.schedule import HEAD_START, Schedule
from mms_engine.bundle.manifest import Wav2Vec2Ctc


@dataclass(frozen=True, eq=False)
class Waiting:
    """What a schedule has to know of a stream."""

    priority: int = 0
    chunk_seconds: float = 0.2


def test_those_that_wait_longest_come_first() -> None:
    """Also where a stream is fed all the time, and a long chunk may wait longer."""
    schedule = Schedule()
    patient, early, late, urgent = (
        Waiting(*values) for values in ((0, 5.0), (0, 0.2), (0, 0.2), (1, 5.0))
    )
    for member in (patient, early, late, urgent):
        schedule.wake(member)
    schedule.wake(early)  # more audio of it came meanwhile
    assert schedule.take(3) == [urgent, early, late]
    assert schedule.take(3) == [patient]


def test_one_that_is_worked_on_is_given_out_again_only_after_that() -> None:
    schedule, one, other = Schedule(), Waiting(), Waiting()
    schedule.wake(one)
    assert schedule.take(8) == [one]
    schedule.wake(one)
    schedule.wake(other)
    assert schedule.take(8) == [other]
    schedule.done([one, other])
    assert schedule.take(8) == [one]
    schedule.done([one])
    assert not schedule._awake


def test_one_that_ended_while_it_was_worked_on_leaves_nothing() -> None:
    schedule, one = Schedule(), Waiting()
    schedule.wake(one)
    schedule.take(8)
    schedule.wake(one)
    schedule.forget(one)
    schedule.done([one])
    assert (schedule._awake, schedule._again, schedule._busy) == ({}, {}, set())


def test_all_takers_have_work() -> None:
    schedule, members = Schedule(takers=2), [Waiting() for _ in range(7)]
    for member in members:
        schedule.wake(member)
    assert schedule.take(8) == members[:4]
    assert schedule.take(8) == members[4:6]
    assert schedule.take(8) == members[6:]


def test_whoever_has_waited_long_is_not_kept_from_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    schedule, low = Schedule(), Waiting()
    schedule.wake(low)
    turns = 0
    while True:
        high = Waiting(priority=1)
        schedule.wake(high)
        if schedule.take(1) == [low]:
            break
        turns, now = turns + 1, now + 1.0
    assert turns == pytest.approx(HEAD_START, abs=1)


def test_closing_lets_all_takers_go() -> None:
    schedule, taken = Schedule(takers=2), []
    threads = [threading.Thread(target=lambda: taken.append(schedule.take(1))) for _ in range(2)]
    for thread in threads:
        thread.start()
    schedule.close()
    for thread in threads:
        thread.join(10)
    assert taken == [None, None]


def test_small_encoders_run_on_one_thread_each_and_large_ones_on_many(demo: Recognizer) -> None:
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
