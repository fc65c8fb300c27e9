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
    """Timings of one implementation."""

    seconds: list[float] = field(default_factory=list)
    failure: NotMeasured | None = None
    """Reason why it left the race; its timings are then void."""

    def take(self, repeat: Repeat, seconds: float, most: int) -> Sequence[float]:
        """Return the times of a turn, none if it fails."""
        try:
            return repeat(seconds, most)
        except NotMeasured as failure:
            self.failure = failure
            return ()


def race(
    repeats: Sequence[Repeat], pace: Pace, tell: Callable[[str], None] = lambda _: None
) -> list[Samples]:
    """Warm up all implementations, then give each one turn per round, in a new random order.

    One that fails leaves the race. `tell` receives lines of progress.
    """
    racing = [(repeat, Samples()) for repeat in repeats]
    found = [samples for _, samples in racing]
    slowest = 0.0
    for repeat, samples in racing if pace.warmup else ():
        taken = samples.take(repeat, pace.warmup, pace.max_samples)
        slowest = max([slowest, *taken[-1:]])
    rounds = pace.rounds(slowest)
    tell(f"timing {len(repeats)} implementations in {rounds} rounds")
    order = random.Random(pace.seed)  # noqa: S311 - an order, not a secret
    for _ in range(rounds):
        racing = [(repeat, samples) for repeat, samples in racing if samples.failure is None]
        order.shuffle(racing)
        for repeat, samples in racing:
            share = math.ceil(pace.max_samples / rounds)
            samples.seconds += samples.take(repeat, pace.min_time / rounds, share)
    return found
