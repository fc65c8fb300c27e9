"""Hypothesis: tokens with frame spans and scores, as every decoder returns them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """Decoded tokens; entry i of each array belongs to token i."""

    tokens: npt.NDArray[np.int32]
    """Shape `[L]`: token ids, without blanks."""
    starts: npt.NDArray[np.int64]
    """Shape `[L]`: first frame of each token (inclusive)."""
    ends: npt.NDArray[np.int64]
    """Shape `[L]`: frame after the last (exclusive)."""
    scores: Float32Array
    """Shape `[L]`: mean natural-log probability of the token over its frames."""
    score: float = 0.0
    """Score that ranks hypotheses, in nats; 0 where there is only one."""
    log_prob: float = 0.0
    """Natural log of the acoustic probability of the tokens; 0 where there is only one."""
    words: tuple[str, ...] | None = None
    """Text of each entry, `[L]`, where the entries are words of a list instead of tokens."""
