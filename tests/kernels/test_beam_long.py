"""Hours of audio: memory and time per frame do not grow. MMS_LONG=1 for 1.8 million frames."""

import os
import time

import numpy as np

from ctc_cases import sharp
from mms_kernels import BeamDecoder, BeamOptions

FRAMES = 1_800_000 if os.environ.get("MMS_LONG") == "1" else 150_000
PIECE = 10_000


def test_memory_and_time_per_frame_do_not_grow():
    options = BeamOptions(beam_size=16, token_min_logp=-5.0, lookback=500)
    stream = BeamDecoder(options).stream(kind="log_probs")
    scores = sharp(PIECE, 32, seed=1)
    live, seconds, taken = [], [], 0
    for _ in range(FRAMES // PIECE):
        start = time.thread_time()
        stream.step(scores)
        seconds.append(time.thread_time() - start)
        taken += len(stream.take_stable())
        live.append(stream._stream.live)
    (last,) = stream.finish()
    assert max(live) < 10_000
    assert len(last) < 1000
    assert taken + len(last) > 0.2 * FRAMES
    # The least of a few, since the machine has other work.
    assert min(seconds[-5:]) < 1.5 * min(seconds[:5])


def test_probabilities_of_long_audio_keep_their_bits():
    """A sum of 10^5 frames in float32 could not tell 0.008 nat apart."""
    scores = np.tile(np.log(np.float32([0.6, 0.4])), (60_000, 1))
    options = BeamOptions(beam_size=4, lookback=0)
    first, second = BeamDecoder(options).stream(kind="log_probs"), None
    first.step(scores)
    second = first.copy()
    more = np.array([[-1.0, -1.001]], np.float32)
    first.step(more)
    second.step(more[:, ::-1].copy())
    one, other = (stream.finish()[0].log_prob for stream in (first, second))
    assert one != other
    assert abs(one - other) < 0.001
