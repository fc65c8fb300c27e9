import pytest

from mms_bench.errors import Failed, Skipped
from mms_bench.run.race import Pace, race, repeat_call


class Clockwork:
    """Takes a fixed time per call and notes its turns."""

    def __init__(self, name, seconds, turns, fails_at=None, error=None):
        self.name, self.seconds, self.turns = name, seconds, turns
        self.fails_at, self.error = fails_at, error
        self.requests = []

    def __call__(self, seconds, most):
        self.turns.append(self.name)
        self.requests.append(seconds)
        if len(self.requests) == self.fails_at:
            raise self.error
        calls = -int(-seconds // self.seconds)
        return (self.seconds,) * max(1, min(most, calls))


def run(pace, **seconds):
    turns = []
    clocks = [Clockwork(name, value, turns) for name, value in seconds.items()]
    return dict(zip(seconds, race(clocks, pace), strict=True)), turns, clocks


def test_every_runner_has_a_turn_in_every_round():
    found, turns, _ = run(Pace(warmup=0, min_time=10, min_samples=7), a=1.0, b=2.0, c=0.5)
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert len(rounds) == 7
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1, "the order must change between rounds"
    assert sum(found["c"].seconds) >= 10


def test_order_depends_on_the_seed_only():
    paces = [Pace(warmup=0, min_samples=20, seed=seed) for seed in (1, 1, 2)]
    orders = [run(pace, a=1.0, b=1.0, c=1.0)[1] for pace in paces]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("slow", "calls"), [(10.0, 5), (21.0, 3)])
def test_slow_calls_are_few(slow, calls):
    found, _, _ = run(Pace(warmup=1, min_time=10, min_samples=5), fast=0.125, slow=slow)
    assert len(found["slow"].seconds) == calls
    assert sum(found["fast"].seconds) >= 10


def test_short_calls_take_turns_often():
    _, turns, _ = run(Pace(warmup=1, min_time=10, min_samples=5), a=0.1, b=0.2)
    assert turns.count("a") == turns.count("b") == 1 + 50


def test_warm_up_is_by_time_and_discarded():
    found, turns, clocks = run(Pace(warmup=3, min_time=2, min_samples=2), a=1.0, b=1.0)
    assert turns[:2] == ["a", "b"]
    assert [clock.requests[0] for clock in clocks] == [3, 3]
    assert found["a"].seconds == [1.0, 1.0]


@pytest.mark.parametrize("error", [Failed("died"), Skipped("cannot")])
@pytest.mark.parametrize("fails_at", [1, 3])
def test_failing_runner_leaves_and_others_go_on(error, fails_at):
    turns = []
    bad = Clockwork("bad", 1.0, turns, fails_at, error)
    good = Clockwork("good", 1.0, turns)
    found = race([bad, good], Pace(warmup=1, min_time=5, min_samples=5))
    assert found[0].failure is error
    assert turns.count("bad") == fails_at
    assert found[1].failure is None
    assert len(found[1].seconds) == 5


def test_empty_race():
    assert race([], Pace()) == []


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (2.5, 3), (100.0, 7)])
def test_single_calls_are_repeated_by_time_and_number(seconds, calls):
    assert repeat_call(lambda: 1.0)(seconds, 7) == [1.0] * calls
