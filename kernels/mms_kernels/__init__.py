"""CTC decoding kernels."""

from mms_kernels.arpa import convert_arpa
from mms_kernels.greedy import GreedyDecoder, GreedyResult, greedy_decode
from mms_kernels.hotwords import Hotwords, read_hotwords
from mms_kernels.lm import KenlmModel, LanguageModel, NgramModel, open_lm

__all__ = [
    "GreedyDecoder",
    "GreedyResult",
    "Hotwords",
    "KenlmModel",
    "LanguageModel",
    "NgramModel",
    "convert_arpa",
    "greedy_decode",
    "open_lm",
    "read_hotwords",
]
