"""Sizes past 2^31: a batch is never indexed in 32 bits."""

import numpy as np
import pytest

from mms_kernels.greedy import greedy_decode


@pytest.mark.parametrize("frames", [1 << 20, (1 << 20) + 8])
def test_a_row_beyond_2_to_the_31_bytes(frames):
    vocab = 1024
    try:
        # Nothing is written to all but a few pages: the others take no memory.
        logits = np.zeros((3, frames, vocab), np.float16)
    except MemoryError:
        pytest.skip("the system lends no 6 GB of addresses")
    logits[2, :3, 7] = 1.0
    logits[1, :2, 1023] = 1.0
    found = greedy_decode(logits, np.array([0, 2, 3]))
    assert [row.tokens.tolist() for row in found] == [[], [1023], [7]]
    assert found[2].ends.tolist() == [3]
