"""CTC decoding kernels."""

from mms_kernels.align import STAR, Alignment, TokenSpan, forced_align
from mms_kernels.greedy import GreedyDecoder, GreedyResult, greedy_decode

__all__ = [
    "STAR",
    "Alignment",
    "GreedyDecoder",
    "GreedyResult",
    "TokenSpan",
    "forced_align",
    "greedy_decode",
]
