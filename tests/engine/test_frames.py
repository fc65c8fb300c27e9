"""The frame arithmetic is that of the convolutions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_engine.encoder.frames import FrameGeometry

MMS = FrameGeometry((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (480_000, 1499), (145_840, 455)],
)
def test_frame_counts_of_mms(samples: int, frames: int) -> None:
    assert MMS.frames(samples) == frames


@given(
    layers=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=8),
    frames=st.integers(1, 2000),
)
def test_samples_is_the_least_that_gives_the_frames(
    layers: list[tuple[int, int]], frames: int
) -> None:
    geometry = FrameGeometry(tuple(k for k, _ in layers), tuple(s for _, s in layers))
    needed = geometry.samples(frames)
    assert geometry.frames(needed) == frames
    assert geometry.frames(needed - 1) == frames - 1


@given(start=st.integers(0, 5000), length=st.integers(1, 500))
def test_span_of_frames_needs_exactly_its_samples(start: int, length: int) -> None:
    span = MMS.span(start, start + length)
    assert span.start == start * 320
    assert MMS.frames(span.stop - span.start) == length
    assert MMS.frames(span.stop) == start + length


def test_kernels_and_strides_must_pair() -> None:
    with pytest.raises(ValueError, match="2 kernels and 1 strides"):
        FrameGeometry((3, 3), (2,))
