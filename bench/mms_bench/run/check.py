"""Correctness before time: an implementation's logits against the reference's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mms_bench.peers.base import HALF_ADAPTERS
from mms_bench.run.result import Check
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest deviation from the reference that a precision may have."""

    argmax_agreement: float
    """Minimal share of frames with the reference's most likely token."""
    max_abs_error: float | None = None
    """Largest difference of a logit; `None` where only the tokens count."""
    relative_error: float = 0.0
    """Addition to it, as a share of the reference's largest logit."""


TOLERANCES = {
    "fp32": Tolerance(0.999, 2e-3),
    # Rounding a weight to half precision moves it by 2^-11 of itself at most; four times that of
    # the largest logit leaves room for the sum over the layers' adapters and the head.
    HALF_ADAPTERS: Tolerance(0.999, 2e-3, relative_error=2**-9),
    "fp16": Tolerance(0.995),
    "bf16": Tolerance(0.97),
    "int8": Tolerance(0.97),
}
# Stands for NaN and infinity, which JSON lacks.
_HUGE = float(np.finfo(np.float32).max)


def compare(
    measured: Sequence[Float32Array], reference: Sequence[Float32Array], tolerance: Tolerance
) -> Check:
    """Compare two sets of logits, one `float32[T, V]` per utterance; ValueError if T differs.

    Columns of `measured` beyond the reference's vocabulary must never win and are not compared
    otherwise: a bank pads every head to the widest.
    """
    if len(measured) != len(reference):
        raise ValueError(f"returned {len(measured)} utterances, the reference {len(reference)}")
    worst, same, frames, largest = 0.0, 0, 0, 0.0
    for mine, theirs in zip(measured, reference, strict=True):
        if len(mine) != len(theirs) or mine.shape[1] < theirs.shape[1]:
            shapes = f"{list(mine.shape)}, the reference {list(theirs.shape)}"
            raise ValueError(f"returned logits of shape {shapes}")
        difference = np.abs(mine[:, : theirs.shape[1]] - theirs).max(initial=0.0)
        worst = max(worst, float(np.nan_to_num(difference, nan=_HUGE, posinf=_HUGE)))
        same += int(np.count_nonzero(mine.argmax(axis=1) == theirs.argmax(axis=1)))
        frames += len(theirs)
        largest = max(largest, float(np.abs(theirs).max(initial=0.0)))
    agreement = same / frames if frames else 0.0
    limit = tolerance.max_abs_error
    if limit is not None:
        limit += tolerance.relative_error * largest
    close = worst < _HUGE if limit is None else worst <= limit
    return Check(
        max_abs_error=worst,
        argmax_agreement=agreement,
        frames=frames,
        max_abs_error_limit=limit,
        argmax_agreement_limit=tolerance.argmax_agreement,
        passed=close and agreement >= tolerance.argmax_agreement,
    )
