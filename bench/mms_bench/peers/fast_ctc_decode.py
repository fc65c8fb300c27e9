"""fast-ctc-decode: prefix search in Rust, on probabilities in float32."""

from math import exp

import numpy as np

from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Labels, Ready, load_emission
from mms_bench.peers.installed import versions


class FastCtcDecode:
    """Sums over paths; no language model, no batch."""

    name = "fast-ctc-decode"

    def version(self) -> dict[str, str]:
        """Return its version."""
        found = versions("fast-ctc-decode")
        import fast_ctc_decode  # noqa: F401 - imported before anything is timed

        return found

    def ready(self, task: Task) -> Ready:
        """Turn the log-probabilities of each row into probabilities."""
        import fast_ctc_decode

        if task.kind not in ("greedy", "beam") or task.lm or task.hotwords or task.threads != 1:
            raise NotHere("has neither language model nor hotwords, threads, streams or alignment")
        rows = [np.exp(row) for row in load_emission(task)]
        # One character a token; the blank comes first.
        alphabet = [chr(0x4E00 + token) for token in range(rows[0].shape[1])]
        if task.kind == "greedy":
            return Ready(
                lambda: [fast_ctc_decode.viterbi_search(row, alphabet) for row in rows], _labels
            )
        cut = 0.0 if task.token_min_logp is None else exp(task.token_min_logp)
        size = task.beam_size
        return Ready(
            lambda: [fast_ctc_decode.beam_search(row, alphabet, size, cut) for row in rows],
            _labels,
        )


def _labels(found: list[tuple[str, list[int]]]) -> list[Labels]:
    return [np.array([ord(letter) - 0x4E00 for letter in text], np.int64) for text, _ in found]
