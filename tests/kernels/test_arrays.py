"""The one check that every kernel's arrays pass."""

import ml_dtypes
import numpy as np
import pytest

from mms_kernels import GreedyDecoder, _ctc, arrays, greedy_decode


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_scores_are_passed_on_without_a_copy(dtype):
    given = np.zeros((2, 3), dtype)
    assert np.shares_memory(arrays.scores("x", given, "TV"), given)


def test_bfloat16_travels_as_its_bits():
    given = np.array([[1.0, -2.0]], ml_dtypes.bfloat16)
    assert arrays.scores("x", given, "TV").tolist() == [[0x3F80, 0xC000]]


WRONG = {
    "x must be int32 or int64[B, L], got float32[2, 3]": np.zeros((2, 3), np.float32),
    "x must be int32 or int64[B, L], got int32[6]": np.zeros(6, np.int32),
    "x must be int32 or int64[B, L], got int64[2, 3] of foreign byte order": np.zeros(
        (2, 3), np.dtype(np.int64).newbyteorder()
    ),
    "x must be a NumPy array int32 or int64[B, L], got tuple": (1, 2),
    "x must be C-contiguous and aligned, got strides [8, 16] for int64[2, 2]: pass numpy.array of "
    "it, order C": np.zeros((2, 2), np.int64).T,
}


@pytest.mark.parametrize("message", WRONG)
def test_one_error_for_each_fault(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        arrays.check("x", WRONG[message], ("int32", "int64"), "BL")
    assert str(caught.value) == message


def test_numbers_of_rows_are_compared():
    with pytest.raises(ValueError, match=r"^x has 3 rows, lengths has 2$"):
        arrays.check_rows("x", np.zeros((3, 1)), "lengths", np.zeros(2))


def test_kind_is_said_and_checked():
    message = "^kind is 'probs', it must be 'logits' or 'log_probs'$"
    with pytest.raises(ValueError, match=message):
        GreedyDecoder(kind="probs")
    with pytest.raises(ValueError, match=message):
        greedy_decode(np.zeros((1, 1, 1), np.float32), np.array([1]), kind="probs")


def test_the_module_itself_refuses_other_types():
    with pytest.raises(ValueError, match=r"^the scores must be float32, float16 or bfloat16"):
        _ctc.GreedyStream(0, "logits").step(np.zeros((2, 3), np.float64))
