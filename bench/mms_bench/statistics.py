"""Order statistics of repeated timings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Of the samples of one implementation. All in seconds but `count`."""

    count: int
    median: float
    p10: float
    """A tenth of the samples are faster."""
    p90: float
    """A tenth of the samples are slower."""
    iqr: float
    """From the first quartile to the third."""


def summarise(samples: Sequence[float]) -> Summary:
    """Return order statistics, interpolated linearly between samples.

    Args:
        samples: Seconds, at least one.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("there are no samples to summarise")
    p10, q1, median, q3, p90 = np.percentile(samples, (10, 25, 50, 75, 90)).tolist()
    return Summary(count=len(samples), median=median, p10=p10, p90=p90, iqr=q3 - q1)
