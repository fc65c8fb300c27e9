"""A few real-time clients at the limit of the server, and others that it refuses."""

import asyncio

import numpy as np

from live_load import make_talk, measure
from server_process import running

STREAMS = 10


def test_clients_at_the_limit_do_not_wait_and_others_are_refused(demo_bundle, recognizer) -> None:
    """Medians, since other programs may run; `live_load.py` measures the tails."""
    options = ("--bundle", demo_bundle, "--no-admission", "--max-streams", STREAMS)
    talk = make_talk(recognizer, 6)
    with running(*options) as server:
        figures = asyncio.run(measure(server.url, talk, STREAMS, 50))
        server.wait_metric("mms_streams", 0)
    assert (len(figures.refusals), figures.accepted) == (50, 0)
    assert min(figures.agreed) > 0.9
    assert np.median(figures.waits) < 0.3, figures
    assert np.median(figures.refusals) < 0.05, figures
    assert np.median(figures.pings) < 0.1, figures
