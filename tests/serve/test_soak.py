"""A short soak: the clients of `tests/soak.py` for some seconds, a fifth of them bad."""

import asyncio
import io
import json
from pathlib import Path

import numpy as np
import pytest

from engine_demo import demo_clips
from soak import Sample, growth, serving, soak
from soak_clients import World

SECONDS = 20


def test_nothing_is_left_after_good_and_bad_clients(
    demo_bundle: Path, demo_lid: Path, demo_voice: Path
) -> None:
    """Memory is left to the command, which has an hour to tell a leak from a warm-up."""
    output = io.StringIO()
    with serving([demo_bundle, demo_lid, demo_voice]) as server:
        work = soak(
            World(server, demo_clips()),
            seconds=SECONDS,
            interval=SECONDS / 2,
            warm_up=SECONDS,
            bad_share=0.2,
            pause=2.0,
            workers=1,
            output=output,
        )
        assert asyncio.run(work) == []
    samples = [json.loads(line) for line in output.getvalue().splitlines()]
    assert any(sample["honest"] for sample in samples)
    assert any(sample["bad"] for sample in samples)


def samples_of_an_hour(*, dearer: float) -> list[Sample]:
    """Return samples in the last third of which speech replaces lists of models.

    Args:
        dearer: Cost of speech in that third, relative to before.
    """
    rng = np.random.default_rng(0)
    samples = []
    for part in np.linspace(0, 1, 100):
        late = part > 0.67
        lists, spoken = rng.poisson(10 if late else 40), rng.poisson(39 if late else 2)
        cost = 0.3 * (dearer if late else 1.0)
        honest = {"examine": [0.01] * lists, "speak": [0.5] * spoken}
        samples.append(
            Sample(
                seconds=600 + 3000 * part,
                rss=1 << 28,
                anonymous=1 << 27,
                threads=20,
                files=30,
                left=0,
                tasks=4,
                cpu_seconds=1.0 + 0.01 * lists + cost * spoken,
                load=2.0,
                gauges={},
                honest=honest,
            )
        )
    return samples


@pytest.mark.parametrize(("dearer", "is_told"), [(1.0, False), (1.5, True)])
def test_cost_is_compared_kind_by_kind(dearer: float, is_told: bool) -> None:
    wrong = growth(samples_of_an_hour(dearer=dearer))
    assert bool(wrong) is is_told
    assert all("CPU" in text for text in wrong)
