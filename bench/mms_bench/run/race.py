"""Interleaved timing of several implementations, so that machine drift affects all alike."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mms_bench.errors import NotMeasured

_MAX_ROUNDS = 50
SLOW, SLOW_SAMPLES = 20.0, 3
"""Seconds of a call, of which so few samples are enough."""

Repeat = Callable[[float, int], Sequence[float]]
"""Calls for some seconds, from once to a number of times, and returns the seconds of each call."""


@dataclass(frozen=True, slots=True)
class Runner:
    """An implementation to be timed."""

    name: str
    """Unique in a race."""
    repeat: Repeat
    warmed_up: float = 0.0
    """Seconds of calls before the race, which count as warm-up."""


def repeat_call(once: Callable[[], float]) -> Repeat:
    """Return the `repeat` of a function that makes one call and returns its seconds."""

    def repeat(seconds: float, most: int) -> list[float]:
        taken: list[float] = []
        while not taken or (sum(taken) < seconds and len(taken) < most):
            taken.append(once())
        return taken

    return repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Length of a measurement, per implementation; times in seconds."""

    warmup: float = 2.0
    min_time: float = 10.0
    """Minimal total of the samples."""
    min_samples: int = 5
    """Minimal number of samples, and of rounds."""
    max_samples: int = 1000
    seed: int = 0
    """Seed of the order of turns, which is drawn for each round."""

    def rounds(self, slowest: float) -> int:
        """Return the number of rounds, given the slowest call in seconds (0 if unknown)."""
        if not slowest:
            return self.min_samples
        if slowest > SLOW:
            return min(self.min_samples, SLOW_SAMPLES)
        return max(self.min_samples, min(_MAX_ROUNDS, math.ceil(self.min_time / slowest)))


@dataclass(slots=True)
class Samples:
    """Timings of one runner."""

    seconds: list[float] = field(default_factory=list)
    failure: NotMeasured | None = None
    """Reason why the runner left the race; its timings are then void."""


def race(
    runners: Sequence[Runner], pace: Pace, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Samples]:
    """Warm up every runner, then give each one turn per round, in a new random order.

    A runner that fails leaves the race. `tell` receives lines of progress.
    """
    found = {runner.name: Samples() for runner in runners}
    slowest = max((_warm_up(one, found[one.name], pace) for one in runners), default=0.0)
    rounds = pace.rounds(slowest)
    tell(f"timing {len(runners)} implementations in {rounds} rounds")
    order = random.Random(pace.seed)  # noqa: S311 - an order, not a secret
    for _ in range(rounds):
        racing = [runner for runner in runners if found[runner.name].failure is None]
        order.shuffle(racing)
        for runner in racing:
            samples, share = found[runner.name], math.ceil(pace.max_samples / rounds)
            samples.seconds += _take(runner, samples, pace.min_time / rounds, share)
    return found


def _warm_up(runner: Runner, samples: Samples, pace: Pace) -> float:
    """Return the approximate seconds of a warm call, 0 if unknown."""
    missing = pace.warmup - runner.warmed_up
    if missing <= 0:
        return runner.warmed_up if pace.warmup else 0.0
    taken = _take(runner, samples, missing, pace.max_samples)
    return taken[-1] if taken else 0.0


def _take(runner: Runner, samples: Samples, seconds: float, most: int) -> Sequence[float]:
    try:
        return runner.repeat(seconds, most)
    except NotMeasured as failure:
        samples.failure = failure
        return ()
