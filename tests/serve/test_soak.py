"""A short soak: the clients of `tests/soak.py` for some seconds, a fifth of them bad."""

import asyncio
import io
import json
from pathlib import Path

from engine_demo import demo_clips
from soak import serving, soak
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
