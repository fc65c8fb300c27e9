"""fast-ctc-decode: prefix beam search in Rust, on float32 probabilities."""

from math import exp

import numpy as np

from mms_bench.errors import Skipped
from mms_bench.peers.base import Labels, Peer, Ready, Task

_FIRST = 0x4E00
"""Code point of token 0: the alphabet has one character per token."""


class FastCtcDecode(Peer):
    """Search that sums over paths, without language model or batches."""

    packages = ("fast-ctc-decode",)
    imports = ("fast_ctc_decode",)

    def ready(self, task: Task) -> Ready:
        """Convert the log-probabilities to probabilities."""
        from fast_ctc_decode import beam_search, viterbi_search

        if task.kind == "align" or task.lm or task.hotwords:
            raise Skipped("has neither language model nor hotwords nor alignment")
        rows = [np.exp(row) for row in task.emission]
        alphabet = [chr(_FIRST + token) for token in range(task.emission.shape[2])]
        if task.kind == "greedy":
            return Ready(lambda: [viterbi_search(row, alphabet) for row in rows], _labels)
        cut = 0.0 if task.token_min_logp is None else exp(task.token_min_logp)
        size = task.beam_size
        return Ready(lambda: [beam_search(row, alphabet, size, cut) for row in rows], _labels)


def _labels(found: list[tuple[str, list[int]]]) -> list[Labels]:
    return [np.array([ord(letter) - _FIRST for letter in text], np.int64) for text, _ in found]
