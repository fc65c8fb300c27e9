"""Pauses between sentences: pieces of bounded size, and smooth ends."""

import numpy as np
import pytest

from mms_engine.tts.pauses import Pauses

RATE = 16_000
ONES = np.ones(1000, np.float32)


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.01, 4.0, 4.096, 8.192, 8.3, 60.0])
def test_pause_is_silence_with_smooth_ends_in_pieces(seconds: float) -> None:
    pauses = Pauses(RATE)
    first = list(pauses.join(ONES))
    assert len(first) == 1
    assert np.array_equal(first[0], ONES)
    pauses.end(seconds)
    pieces = list(pauses.join(-ONES))
    assert max(map(len, pieces)) <= 2 * 65_536 + len(ONES)
    joined = np.concatenate(pieces)
    due = round(seconds * RATE)
    assert joined.dtype == np.float32
    assert len(joined) == due + len(ONES)
    assert np.array_equal(joined[due:], -ONES)
    assert np.abs(np.diff(np.concatenate([ONES[-1:], joined]))).max() < 0.1 or due < 160
    fade = min(round(0.005 * RATE), due // 2)
    assert not joined[fade : due - fade].any()


def test_hours_of_silence_take_no_memory() -> None:
    pauses = Pauses(RATE)
    list(pauses.join(ONES))
    for _ in range(10_000):
        pauses.rest(60.0)
    assert pauses.due == 10_000 * 60 * RATE  # 38 GB, if it were one array
    pieces = pauses.finish()
    assert len(next(pieces)) == 65_536
    assert len(next(pieces)) == 65_536
