"""What a stream hands over is said, at the same times, by every hypothesis that is left."""

import numpy as np
import pytest

from beam_cases import log_probs
from mms_kernels import BeamDecoder, BeamOptions

FRAMES = 60
"""Fewer than those after which a stream settles by itself."""


def begins_with(hypothesis, taken):
    """Whether a hypothesis says the taken tokens first, and in the same frames."""
    size = len(taken)
    return all(
        np.array_equal(getattr(hypothesis, name)[:size], getattr(taken, name))
        for name in ("tokens", "starts", "ends")
    )


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_what_is_taken_is_common_to_all_hypotheses(spread):
    decoder = BeamDecoder(BeamOptions(beam_size=8))
    taken, kept = 0, 0
    for seed in range(20):
        stream = decoder.stream(kind="log_probs")
        stream.step(log_probs(FRAMES, 6, seed, spread))
        # All is read before anything is taken: a stream that takes too much is broken by it.
        hypotheses = stream.partial(nbest=8).hypotheses
        piece = stream.take_stable()
        assert all(begins_with(hypothesis, piece) for hypothesis in hypotheses)
        taken += len(piece)
        kept += len(hypotheses[0].tokens) - len(piece)
    assert taken > 0
    assert kept > 20
