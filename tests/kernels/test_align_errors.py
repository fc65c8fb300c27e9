"""Bad input of the aligner: one clear error each."""

import numpy as np
import pytest

from align_cases import align
from mms_kernels import forced_align

LOGITS = np.zeros((1, 6, 4), np.float32)
TARGETS = np.array([[1, 2, 2]])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1, 2, 3, 1, 2, 3, 1], "takes at least 7 frames, L = 7 and a blank before each of R = 0"),
        (
            [1, 1, 1, 1],
            "takes at least 7 frames, L = 4 .* R = 3 repeats, the logits have T = 6: sh",
        ),
        ([1, 0], "token 1 of the target is 0, the blank: leave blanks out"),
        ([1, 2, 4], "token 2 of the target is 4, the logits have only 4 tokens"),
        ([-1], "token 0 of the target is -1, which is no token, nor the star of this call"),
        ([2**40], "token 0 of the target is 1099511627776, the logits have only 4 tokens"),
    ],
)
def test_target(target, message):
    with pytest.raises(ValueError, match=f"^row 0: .*{message}"):
        align(LOGITS[0], target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blank": -1}, "blank is -1, it must not be negative"),
        ({"blank": 4}, "blank is 4, the logits have only 4 tokens"),
        ({"star": 3}, "star is 3, which is a token of the logits: take -1"),
        ({"star": -1, "star_score": 0.5}, "star_score must be a log-probability, at most 0"),
        ({"star": -1, "star_score": np.nan}, "star_score must be a log-probability, at most 0"),
        ({"band": 0}, "band is 0, it must be at least 1, or None"),
        ({"kind": "probs"}, "kind is 'probs', it must be 'logits' or 'log_probs'"),
        ({"threads": 0}, "threads is 0, it must be at least 1"),
        ({"max_bytes": 1000}, r"max_bytes is 1000, to align 6 frames to this target takes \d+"),
        ({"max_bytes": -1}, r"max_bytes is -1, to align"),
        ({"lengths": np.array([7])}, "length is 7, the logits have 6 frames"),
        ({"lengths": np.array([-1])}, "length is -1, the logits have 6 frames"),
        ({"lengths": np.array([3])}, "takes at least 4 frames"),
        ({"target_lengths": np.array([4])}, "target length is 4, the targets have 3 tokens"),
        ({"target_lengths": np.array([-1])}, "target length is -1, the targets have 3 tokens"),
        ({"lengths": np.array([6, 6])}, r"lengths must have shape \[1\], got \[2\]"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        forced_align(LOGITS, TARGETS, **options)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "holds NaN"), (np.inf, r"holds \+inf")])
@pytest.mark.parametrize("frame", [0, 31, 32, 69])
@pytest.mark.parametrize("target", [[], [1, 2]])
def test_nan_and_infinity(value, message, frame, target):
    logits = np.zeros((70, 5), np.float32)
    logits[frame, 4] = value
    with pytest.raises(ValueError, match=f"^row 0: frame {frame} of the logits {message}$"):
        align(logits, target)


def test_frame_without_any_possible_token():
    logits = np.zeros((10, 5), np.float32)
    logits[4] = -np.inf
    with pytest.raises(ValueError, match=r"^row 0: frame 4 of the logits is -inf for every token$"):
        align(logits, [1])


@pytest.mark.parametrize("band", [None, 1])
@pytest.mark.parametrize("size", [1, 40])
def test_no_path_has_a_probability(band, size):
    logits = np.zeros((100, 5), np.float32)
    logits[:, 3] = -np.inf
    target = [1, 2] * size
    target[size] = 3
    with pytest.raises(ValueError, match=r"^row 0: no path has a probability"):
        align(logits, target, band=band)
    logits = np.zeros((100, 5), np.float32)
    logits[50, 0] = -np.inf
    with pytest.raises(ValueError, match=r"^row 0: no path has a probability"):
        align(logits, [])


@pytest.mark.parametrize("threads", [1, 4])
def test_error_of_the_lowest_row_is_raised(threads):
    logits = np.zeros((20, 5, 3), np.float32)
    logits[[19, 6, 11], 2] = np.nan
    with pytest.raises(ValueError, match=r"^row 6: frame 2 "):
        forced_align(logits, np.ones((20, 1), np.int64), threads=threads)


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (LOGITS.tolist(), TARGETS, r"logits must be a NumPy array float32\[B, T, V\] or \[T, V\]"),
        (LOGITS.astype(float), TARGETS, r"logits must be float32.*, got float64\[1, 6, 4\]"),
        (LOGITS, TARGETS.astype(float), r"targets must be integer\[B, L\] or \[L\], got float64"),
    ],
)
def test_types(logits, targets, message):
    with pytest.raises(TypeError, match=message):
        forced_align(logits, targets)


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (LOGITS[0, 0], TARGETS, r"logits must be float32\[B, T, V\] or \[T, V\], got float32\[4\]"),
        (LOGITS.transpose(0, 2, 1), TARGETS, "logits must be C-contiguous"),
        (LOGITS, TARGETS[None], r"targets must be integer\[B, L\] or \[L\], got int64\[1, 1, 3\]"),
        (LOGITS.repeat(2, 0), TARGETS, "logits has 2 rows, targets has 1"),
    ],
)
def test_shapes(logits, targets, message):
    with pytest.raises(ValueError, match=message):
        forced_align(logits, targets)


def test_lengths_are_whole_numbers():
    with pytest.raises(TypeError, match="lengths must be integers, got float64"):
        forced_align(LOGITS, TARGETS, np.array([6.0]))


def test_targets_of_any_integer_type_and_order():
    expected = forced_align(LOGITS.repeat(2, 0), TARGETS.repeat(2, 0))
    for dtype in (np.int32, np.uint8, np.int64):
        targets = np.asfortranarray(TARGETS.repeat(2, 0).astype(dtype))
        found = forced_align(LOGITS.repeat(2, 0), targets)
        assert found[1].starts.tolist() == expected[1].starts.tolist()
