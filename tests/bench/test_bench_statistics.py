import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_bench.statistics import summarise


def test_known_values():
    summary = summarise([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (summary.count, summary.median) == (5, 3.0)
    assert summary.p10 == pytest.approx(1.4)
    assert summary.p90 == pytest.approx(4.6)
    assert summary.iqr == pytest.approx(2.0)


def test_one_sample_has_no_spread():
    summary = summarise([0.25])
    assert (summary.p10, summary.median, summary.p90, summary.iqr) == (0.25, 0.25, 0.25, 0.0)


def test_no_samples():
    with pytest.raises(ValueError, match="no samples"):
        summarise([])


@given(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=50), st.randoms())
def test_order_of_the_samples_does_not_matter(samples, random):
    summary = summarise(samples)
    assert min(samples) <= summary.p10 <= summary.median <= summary.p90 <= max(samples)
    assert summary.median == pytest.approx(float(np.median(samples)))
    random.shuffle(samples)
    assert summarise(samples) == summary
