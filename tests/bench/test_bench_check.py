import numpy as np
import pytest

from mms_bench.errors import Failed
from mms_bench.peers.base import HALF_ADAPTERS
from mms_bench.run.check import compare

RANDOM = np.random.default_rng(0)
REFERENCE = [RANDOM.standard_normal((frames, 8)).astype(np.float32) for frames in (40, 60)]


def test_equal_logits_pass():
    check = compare(REFERENCE, REFERENCE, "fp32")
    assert check.passed
    assert (check.max_abs_error, check.argmax_agreement, check.frames) == (0.0, 1.0, 100)


def test_wider_head_passes_unless_its_columns_win():
    wide = [np.pad(logits, ((0, 0), (0, 3)), constant_values=-np.inf) for logits in REFERENCE]
    assert compare(wide, REFERENCE, "fp32").passed
    wide[0][:, -1] = 100.0
    check = compare(wide, REFERENCE, "fp32")
    assert not check.passed
    assert check.argmax_agreement == pytest.approx(0.6)


@pytest.mark.parametrize(("precision", "passes"), [("fp32", False), ("fp16", True), ("int8", True)])
def test_only_fp32_limits_the_difference(precision, passes):
    shifted = [logits + np.float32(0.01) for logits in REFERENCE]
    check = compare(shifted, REFERENCE, precision)
    assert check.passed is passes
    assert check.max_abs_error == pytest.approx(0.01, rel=1e-3)


def test_agreement_below_the_limit_fails():
    other = [logits.copy() for logits in REFERENCE]
    other[0][:4] = -other[0][:4]
    check = compare(other, REFERENCE, "int8")
    assert check.argmax_agreement == pytest.approx(0.96)
    assert not check.passed


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_and_infinity_never_pass(poison):
    other = [logits.copy() for logits in REFERENCE]
    other[1][7, :] = poison
    check = compare(other, REFERENCE, "int8")
    assert not check.passed
    assert np.isfinite(check.max_abs_error), "JSON has no infinity"


def test_shapes_that_differ_are_named():
    with pytest.raises(Failed, match=r"shape \[39, 8\], the reference \[40, 8\]"):
        compare([REFERENCE[0][:-1], REFERENCE[1]], REFERENCE, "fp32")
    with pytest.raises(Failed, match="1 utterances, the reference 2"):
        compare(REFERENCE[:1], REFERENCE, "fp32")


def test_half_precision_adapters_are_allowed_their_rounding():
    large = [logits * np.float32(4 / np.abs(logits).max()) for logits in REFERENCE]
    within = [logits + np.float32(0.009) for logits in large]
    beyond = [logits + np.float32(0.011) for logits in large]
    check = compare(within, large, HALF_ADAPTERS)
    assert check.passed
    assert check.max_abs_error_limit == pytest.approx(2e-3 + 4 / 512)
    assert not compare(beyond, large, HALF_ADAPTERS).passed
    assert not compare(within, large, "fp32").passed
