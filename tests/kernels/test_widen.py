"""Half-precision numbers as float32: every number, every instruction set, every size."""

import ml_dtypes
import numpy as np
import pytest

from mms_kernels import _ctc, widen

ALL = np.arange(1 << 16, dtype=np.uint16)


@pytest.fixture(params=_ctc.isas())
def isa(request: pytest.FixtureRequest):
    before = _ctc.isa()
    _ctc.use_isa(request.param)
    yield request.param
    _ctc.use_isa(before)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_number_is_exact(isa: str, dtype: type) -> None:
    numbers = ALL.view(dtype)
    out = np.empty(len(ALL), np.float32)
    widen(numbers, out)
    with np.errstate(invalid="ignore"):  # signalling NaN
        expected = numbers.astype(np.float32)
    is_nan = np.isnan(expected)
    assert np.isnan(out[is_nan]).all()
    assert np.array_equal(out[~is_nan].view(np.uint32), expected[~is_nan].view(np.uint32))


@pytest.mark.parametrize("size", [0, 1, 3, 7, 15, 16, 17, 31, 33, 1000, (1 << 18) + 5, 600_001])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_size_and_number_of_threads(isa: str, size: int, threads: int) -> None:
    rng = np.random.default_rng(size)
    numbers = rng.standard_normal(size).astype(np.float16)
    numbers.flags.writeable = False
    out = np.full(size + 2, 7.0, np.float32)
    widen(numbers, out[1:-1], threads=threads)
    assert np.array_equal(out[1:-1], numbers.astype(np.float32))
    assert out[0] == out[-1] == 7.0


def test_bad_arguments_are_errors() -> None:
    half, full = np.zeros(4, np.float16), np.zeros(4, np.float32)
    with pytest.raises(TypeError, match="numbers must be float16 or bfloat16"):
        widen(full, full)
    with pytest.raises(TypeError, match="out must be float32"):
        widen(half, half)
    with pytest.raises(ValueError, match="numbers has 4 rows, out has 3"):
        widen(half, full[:3])
    with pytest.raises(ValueError, match="C-contiguous"):
        widen(half[::2], full[:2])
    with pytest.raises(ValueError, match="threads is 0"):
        widen(half, full, threads=0)
    full.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        widen(half, full)
