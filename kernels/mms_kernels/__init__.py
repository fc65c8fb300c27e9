"""CTC decoding kernels."""

from mms_kernels.greedy import GreedyDecoder, GreedyResult, greedy_decode

__all__ = ["GreedyDecoder", "GreedyResult", "greedy_decode"]
