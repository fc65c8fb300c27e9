"""CTC decoding kernels."""

from mms_kernels.align import STAR, Alignment, TokenSpan, forced_align
from mms_kernels.beam import (
    BeamDecoder,
    BeamOptions,
    BeamStream,
    BeamTokens,
    Hypothesis,
    Lexicon,
    Partial,
)
from mms_kernels.greedy import GreedyDecoder, GreedyResult, greedy_decode

__all__ = [
    "STAR",
    "Alignment",
    "BeamDecoder",
    "BeamOptions",
    "BeamStream",
    "BeamTokens",
    "GreedyDecoder",
    "GreedyResult",
    "Hypothesis",
    "Lexicon",
    "Partial",
    "TokenSpan",
    "forced_align",
    "greedy_decode",
]
