"""Takes timings of several implementations in turn, so that a drift of the machine hits all."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mms_bench.errors import Refused

_MOST_ROUNDS = 50
SLOW = 20.0
"""Seconds; a call that takes longer varies less, and `SLOW_SAMPLES` of it are enough."""
SLOW_SAMPLES = 3


class Runner(Protocol):
    """Something that can be timed."""

    @property
    def name(self) -> str:
        """Unique in a race."""
        ...

    @property
    def ran(self) -> float:
        """Seconds of its calls before the race: they count as warm-up."""
        ...

    def repeat(self, seconds: float, most: int) -> tuple[float, ...]:
        """Call for about `seconds`, at least once and at most `most` times.

        Returns:
            The seconds of each call; they add up to `seconds` at least, or are `most`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to measure."""

    warmup: float = 2.0
    """Seconds of calls that are thrown away, for each implementation; 0 for none."""
    min_time: float = 10.0
    """Seconds that the samples of each implementation add up to, at least."""
    min_samples: int = 5
    """Calls of each implementation, at least; also the fewest rounds."""
    max_samples: int = 1000
    """Calls that are enough, however short."""
    seed: int = 0
    """Of the order in which they take turns, drawn anew each round."""

    def rounds(self, slowest: float) -> int:
        """Return in how many rounds to take the samples: many if calls are short.

        Args:
            slowest: Seconds of a call of the slowest implementation; 0 if it is not known.
        """
        if not slowest:
            return self.min_samples
        if slowest > SLOW:
            return min(self.min_samples, SLOW_SAMPLES)
        return max(self.min_samples, min(_MOST_ROUNDS, math.ceil(self.min_time / slowest)))


@dataclass(slots=True)
class Lap:
    """What was taken of one runner."""

    samples: list[float] = field(default_factory=list)
    failure: Refused | None = None
    """Why it left the race; its samples are then void."""


def race(
    runners: Sequence[Runner], pace: Pace, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Lap]:
    """Warm up every runner, then let them take turns, in an order that changes every round.

    Every runner has the same number of turns, and its share of the time in each: a fast one is
    never measured without the others beside it. One that fails leaves, the others go on.

    Args:
        runners: With names that differ.
        pace: How long.
        tell: Is given a line of progress before each round.
    """
    laps = {runner.name: Lap() for runner in runners}
    slowest = 0.0
    for runner in runners:
        slowest = max(slowest, _warm_up(runner, laps[runner.name], pace, tell))
    rounds = pace.rounds(slowest)
    order = random.Random(pace.seed)  # noqa: S311 - an order, not a secret
    for number in range(1, rounds + 1):
        racing = [runner for runner in runners if laps[runner.name].failure is None]
        tell(f"round {number} of {rounds}: {len(racing)} implementations")
        order.shuffle(racing)
        for runner in racing:
            lap = laps[runner.name]
            share = math.ceil(pace.max_samples / rounds)
            lap.samples += _take(runner, lap, pace.min_time / rounds, share)
    return laps


def _warm_up(runner: Runner, lap: Lap, pace: Pace, tell: Callable[[str], None]) -> float:
    """Make calls until the warm-up is over and return about how long one takes, 0 if unknown."""
    missing = pace.warmup - runner.ran
    if missing <= 0:
        return runner.ran if pace.warmup else 0.0
    tell(f"warm-up: {runner.name}")
    taken = _take(runner, lap, missing, pace.max_samples)
    return taken[-1] if taken else 0.0


def _take(runner: Runner, lap: Lap, seconds: float, most: int) -> tuple[float, ...]:
    try:
        return runner.repeat(seconds, most)
    except Refused as failure:
        lap.failure = failure
        return ()
