"""CTC kernels: greedy decoding, prefix beam search and forced alignment; weights as float32."""

from mms_kernels.align import STAR, Alignment, TokenSpan, forced_align
from mms_kernels.arpa import convert_arpa
from mms_kernels.beam import (
    BeamDecoder,
    BeamOptions,
    BeamStream,
    BeamTokens,
    Hypothesis,
    Partial,
)
from mms_kernels.greedy import GreedyDecoder, GreedyResult, greedy_decode
from mms_kernels.hotwords import Hotwords, read_hotwords
from mms_kernels.lexicon import (
    Lexicon,
    LexiconDecoder,
    LexiconHypothesis,
    LexiconOptions,
    LexiconStream,
)
from mms_kernels.lm import KenlmModel, LanguageModel, NgramModel, open_lm
from mms_kernels.widen import widen

__all__ = [
    "STAR",
    "Alignment",
    "BeamDecoder",
    "BeamOptions",
    "BeamStream",
    "BeamTokens",
    "GreedyDecoder",
    "GreedyResult",
    "Hotwords",
    "Hypothesis",
    "KenlmModel",
    "LanguageModel",
    "Lexicon",
    "LexiconDecoder",
    "LexiconHypothesis",
    "LexiconOptions",
    "LexiconStream",
    "NgramModel",
    "Partial",
    "TokenSpan",
    "convert_arpa",
    "forced_align",
    "greedy_decode",
    "open_lm",
    "read_hotwords",
    "widen",
]
