"""Order of clips and masked frames."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mms_export.training.batches import masked_frames, parts, updates

FRAMES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


@given(FRAMES, st.integers(1, 1000), st.integers(0, 9))
def test_every_clip_comes_once_in_a_pass(frames: list[int], most: int, seed: int) -> None:
    seen: list[int] = []
    for chosen in islice(updates(frames, most, seed), 200):
        assert len(chosen) == 1 or sum(frames[index] for index in chosen) <= most
        seen += chosen
    for start in range(0, len(seen) - len(frames) + 1, len(frames)):
        assert sorted(seen[start : start + len(frames)]) == list(range(len(frames)))


@given(FRAMES, st.integers(1, 1000))
def test_parts_hold_every_clip_and_fit_with_their_padding(frames: list[int], most: int) -> None:
    batches = parts(range(len(frames)), frames, most)
    assert sorted(index for batch in batches for index in batch) == list(range(len(frames)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(frames[index] for index in batch) <= most


def test_masks_cover_about_the_share_asked_for() -> None:
    generator = np.random.default_rng(0)
    masks = [masked_frames(300, 0.1, generator) for _ in range(200)]
    assert 0.08 < np.mean(masks) < 0.105  # spans overlap
    assert not masked_frames(300, 0.0, np.random.default_rng(1)).any()
