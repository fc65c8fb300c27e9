"""Bad input of the greedy decoder: one clear error each."""

import numpy as np
import pytest

from greedy_results import assert_same, decode, random_logits
from mms_kernels import GreedyDecoder, greedy_decode


@pytest.mark.parametrize("vocab", [1, 5, 16, 40])
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize(("value", "message"), [(np.nan, "holds NaN"), (np.inf, r"holds \+inf")])
def test_nan_and_infinity(vocab, place, value, message):
    logits = random_logits(10, vocab)[None].repeat(3, axis=0)
    logits[1, 7, 0 if place == "first" else -1] = value
    lengths = np.array([10, 10, 10])
    with pytest.raises(ValueError, match=rf"^row 1: frame 7 of the logits {message}$"):
        greedy_decode(logits, lengths)
    greedy_decode(logits, np.array([10, 7, 10]))


def test_nan_beside_infinity_is_nan():
    logits = np.array([[np.inf, np.nan, 0.0]], np.float32)
    with pytest.raises(ValueError, match="holds NaN"):
        decode(logits)


def test_frame_without_any_possible_token():
    logits = random_logits(10, 20)
    logits[4] = -np.inf
    with pytest.raises(ValueError, match=r"^row 0: frame 4 of the logits is -inf for every token$"):
        decode(logits)


@pytest.mark.parametrize("threads", [1, 4])
def test_error_of_the_lowest_row_is_raised(threads):
    logits = np.zeros((20, 5, 3), np.float32)
    logits[[19, 6, 11], 2] = np.nan
    for _ in range(20):
        with pytest.raises(ValueError, match=r"^row 6: frame 2 "):
            greedy_decode(logits, np.full(20, 5), threads=threads)


def test_failed_step_leaves_the_decoder_as_it_was():
    logits = random_logits(40, 5)
    decoder = GreedyDecoder()
    decoder.step(logits[:20])
    bad = logits[20:].copy()
    bad[9, 3] = np.nan
    with pytest.raises(ValueError, match=r"^frame 29 of the logits holds NaN$"):
        decoder.step(bad)
    assert decoder.frames == 20
    decoder.step(logits[20:])
    assert_same(decoder.finish(), decode(logits))


def test_vocabulary_cannot_change_between_steps():
    decoder = GreedyDecoder()
    decoder.step(np.zeros((3, 5), np.float32))
    message = "^the logits have 6 tokens, those of earlier steps had 5$"
    with pytest.raises(ValueError, match=message):
        decoder.step(np.zeros((3, 6), np.float32))


@pytest.mark.parametrize(
    ("blank", "message"),
    [
        (5, "row 0: blank is 5, the logits have only 5 tokens"),
        (-1, "row 0: blank is -1, it must not be negative"),
    ],
)
def test_blank_out_of_range(blank, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        decode(np.zeros((3, 5), np.float32), blank=blank)


def test_negative_blank_of_a_decoder():
    with pytest.raises(ValueError, match=r"^blank is -2, it must not be negative$"):
        GreedyDecoder(-2)


@pytest.mark.parametrize("length", [-1, 4, 2**40])
def test_length_out_of_range(length):
    with pytest.raises(ValueError, match=f"^row 1: length is {length}, the logits have 3 frames$"):
        greedy_decode(np.zeros((2, 3, 5), np.float32), np.array([3, length]))


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_out_of_range(threads):
    with pytest.raises(ValueError, match=f"^threads is {threads}, it must be at least 1$"):
        greedy_decode(np.zeros((1, 3, 5), np.float32), np.array([3]), threads=threads)


GOOD = np.zeros((2, 3, 4), np.float32)
WRONG_LOGITS = {
    "logits must be float32, float16 or bfloat16[B, T, V], got float64[2, 3, 4]": GOOD.astype(
        np.float64
    ),
    "logits must be float32, float16 or bfloat16[B, T, V], got uint16[2, 3, 4]": GOOD.astype(
        np.uint16
    ),
    "logits must be float32, float16 or bfloat16[B, T, V], got float32[2, 3, 4] of foreign byte "
    "order": GOOD.astype(GOOD.dtype.newbyteorder()),
    "logits must be float32, float16 or bfloat16[B, T, V], got float32[3, 4]": GOOD[0],
    "logits must be a NumPy array float32, float16 or bfloat16[B, T, V], got list": GOOD.tolist(),
    "logits must be C-contiguous and aligned, got strides [48, 16, 8] for float32[2, 3, 2]: pass "
    "numpy.array of it, order C": GOOD[:, :, ::2],
    "logits must be C-contiguous and aligned, got strides [48, 16, 4] for float32[2, 3, 4]: pass "
    "numpy.array of it, order C": np.zeros(97, np.uint8)[1:].view(np.float32).reshape(2, 3, 4),
    "logits must be C-contiguous and aligned, got strides [48, 4, 16] for float32[2, 4, 3]: pass "
    "numpy.array of it, order C": GOOD.transpose(0, 2, 1),
}
WRONG_LENGTHS = {
    "lengths must be int64[B], got int32[2]": np.array([3, 3], np.int32),
    "lengths must be int64[B], got int64[1, 2]": np.array([[3, 3]]),
    "lengths must be a NumPy array int64[B], got list": [3, 3],
    "lengths must be C-contiguous and aligned, got strides [16] for int64[2]: pass "
    "numpy.array of it, order C": np.array([3, 9, 3])[::2],
    "logits has 2 rows, lengths has 1": np.array([3]),
}
WRONG_STEPS = {
    "logits must be float32, float16 or bfloat16[T, V], got float32[2, 3, 4]": GOOD,
    "logits must be float32, float16 or bfloat16[T, V], got int64[3, 4]": np.zeros(
        (3, 4), np.int64
    ),
    "logits must be C-contiguous and aligned, got strides [4, 16] for float32[4, 3]: pass "
    "numpy.array of it, order C": GOOD[0].T,
}


@pytest.mark.parametrize("message", WRONG_LOGITS)
def test_wrong_logits(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        greedy_decode(WRONG_LOGITS[message], np.array([3, 3]))
    assert str(caught.value) == message


@pytest.mark.parametrize("message", WRONG_LENGTHS)
def test_wrong_lengths(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        greedy_decode(GOOD, WRONG_LENGTHS[message])
    assert str(caught.value) == message


@pytest.mark.parametrize("message", WRONG_STEPS)
def test_wrong_arrays_of_a_step(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        GreedyDecoder().step(WRONG_STEPS[message])
    assert str(caught.value) == message
