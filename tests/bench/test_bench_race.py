import pytest

from mms_bench.errors import NotHere, WorkerFailed
from mms_bench.race import Pace, race


class Clockwork:
    """Takes a fixed time a call and notes its turns."""

    def __init__(self, name, seconds, turns, fails_at=None, error=None):
        self.name, self.seconds, self.turns = name, seconds, turns
        self.fails_at, self.error = fails_at, error
        self.asked = []
        self.ran = 0.0

    def repeat(self, seconds, most):
        self.turns.append(self.name)
        self.asked.append(seconds)
        if len(self.asked) == self.fails_at:
            raise self.error
        calls = -int(-seconds // self.seconds)
        return (self.seconds,) * max(1, min(most, calls))


def run(pace, **seconds):
    turns = []
    runners = [Clockwork(name, value, turns) for name, value in seconds.items()]
    return race(runners, pace), turns, runners


def test_everybody_has_a_turn_in_every_round():
    laps, turns, _ = run(Pace(warmup=0, min_time=10, min_samples=7), a=1.0, b=2.0, c=0.5)
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert len(rounds) == 7
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1, "the order must change between rounds"
    assert sum(laps["c"].samples) >= 10


def test_the_order_depends_on_the_seed_only():
    paces = [Pace(warmup=0, min_samples=20, seed=seed) for seed in (1, 1, 2)]
    orders = [run(pace, a=1.0, b=1.0, c=1.0)[1] for pace in paces]
    assert orders[0] == orders[1] != orders[2]


def test_a_slow_one_does_not_wait_for_the_time_of_a_fast_one():
    laps, _, _ = run(Pace(warmup=1, min_time=10, min_samples=5), fast=0.1, slow=10.0)
    assert len(laps["slow"].samples) == 5
    assert len(laps["fast"].samples) == 100


def test_very_slow_calls_are_few():
    laps, _, _ = run(Pace(warmup=1, min_time=10, min_samples=5), fast=1.0, slow=21.0)
    assert len(laps["slow"].samples) == 3
    assert sum(laps["fast"].samples) >= 10


def test_short_calls_take_turns_often():
    _, turns, _ = run(Pace(warmup=1, min_time=10, min_samples=5), a=0.1, b=0.2)
    assert turns.count("a") == turns.count("b") == 1 + 50


def test_very_short_calls_stop_at_the_largest_number_of_samples():
    laps, _, _ = run(Pace(warmup=1, min_time=10, max_samples=200), tiny=1e-6)
    assert len(laps["tiny"].samples) == 200


def test_warm_up_is_asked_for_by_time_and_thrown_away():
    laps, turns, runners = run(Pace(warmup=3, min_time=2, min_samples=2), a=1.0, b=1.0)
    assert turns[:2] == ["a", "b"]
    assert [runner.asked[0] for runner in runners] == [3, 3]
    assert laps["a"].samples == [1.0, 1.0]


def test_calls_before_the_race_count_as_warm_up():
    slow, fast = Clockwork("slow", 8.0, turns := []), Clockwork("fast", 0.5, turns)
    slow.ran, fast.ran = 8.0, 0.5
    laps = race([slow, fast], Pace(warmup=2, min_time=10, min_samples=3))
    assert slow.asked[0] == 10 / 3, "it was warm"
    assert fast.asked[0] == 1.5
    assert len(laps["slow"].samples) == 3


@pytest.mark.parametrize("error", [WorkerFailed("died"), NotHere("cannot")])
@pytest.mark.parametrize("fails_at", [1, 3])
def test_one_that_fails_leaves_and_the_others_go_on(error, fails_at):
    turns = []
    bad = Clockwork("bad", 1.0, turns, fails_at, error)
    good = Clockwork("good", 1.0, turns)
    laps = race([bad, good], Pace(warmup=1, min_time=5, min_samples=5))
    assert laps["bad"].failure is error
    assert turns.count("bad") == fails_at
    assert laps["good"].failure is None
    assert len(laps["good"].samples) == 5


def test_nobody_at_the_start():
    assert race([], Pace()) == {}


def test_rounds_are_told():
    lines = []
    race([Clockwork("a", 1.0, [])], Pace(warmup=1, min_time=2, min_samples=2), lines.append)
    expected = ["warm-up: a", "round 1 of 2: 1 implementations", "round 2 of 2: 1 implementations"]
    assert lines == expected
