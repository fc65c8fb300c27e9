"""Correctness before time: an implementation's logits against the reference's."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from mms_bench.errors import Failed
from mms_bench.peers.base import HALF_ADAPTERS
from mms_bench.run.result import Check
from mms_engine.types import Float32Array, Precision
from mms_export.parity import MIN_AGREEMENT

_FP32_ERROR = 2e-3
"""Largest difference of a logit in fp32; in other precisions only the tokens count."""
# Rounding a weight to half precision moves it by 2^-11 of itself at most; four times that of the
# largest logit leaves room for the sum over the layers' adapters and the head.
_HALF_ADAPTERS_ERROR = 2**-9
# Stands for NaN and infinity, which JSON lacks.
_HUGE = float(np.finfo(np.float32).max)


def compare(
    measured: Sequence[Float32Array], reference: Sequence[Float32Array], precision: str
) -> Check:
    """Compare two sets of logits, one `float32[T, V]` per utterance; Failed if T differs.

    Columns of `measured` beyond the reference's vocabulary must never win and are not compared
    otherwise: a bank pads every head to the widest.
    """
    if len(measured) != len(reference):
        raise Failed(f"returned {len(measured)} utterances, the reference {len(reference)}")
    worst, same, frames, largest = 0.0, 0, 0, 0.0
    for mine, theirs in zip(measured, reference, strict=True):
        if len(mine) != len(theirs) or mine.shape[1] < theirs.shape[1]:
            shapes = f"{list(mine.shape)}, the reference {list(theirs.shape)}"
            raise Failed(f"returned logits of shape {shapes}")
        difference = np.abs(mine[:, : theirs.shape[1]] - theirs).max(initial=0.0)
        worst = max(worst, float(np.nan_to_num(difference, nan=_HUGE, posinf=_HUGE)))
        same += int(np.count_nonzero(mine.argmax(axis=1) == theirs.argmax(axis=1)))
        frames += len(theirs)
        largest = max(largest, float(np.abs(theirs).max(initial=0.0)))
    agreement = same / frames if frames else 0.0
    halves = precision == HALF_ADAPTERS
    least = MIN_AGREEMENT["fp32" if halves else cast("Precision", precision)]
    limit: float | None = None
    if precision == "fp32" or halves:
        limit = _FP32_ERROR + _HALF_ADAPTERS_ERROR * largest * halves
    return Check(
        max_abs_error=worst,
        argmax_agreement=agreement,
        frames=frames,
        max_abs_error_limit=limit,
        argmax_agreement_limit=least,
        passed=agreement >= least and (worst < _HUGE if limit is None else worst <= limit),
    )
