"""pyctcdecode: beam search in Python, with KenLM and hotwords."""

from math import log

import numpy as np

from mms_bench.errors import Skipped
from mms_bench.peers.base import Labels, Peer, Ready, Task
from mms_engine.text.vocabulary import BLANK, WORD_BOUNDARY


class PyCtcDecode(Peer):
    """Decoder whose LM weight is converted to natural logarithms; its word bonus is ours."""

    packages = ("pyctcdecode",)
    imports = ("kenlm", "pyctcdecode")

    def ready(self, task: Task) -> Ready:
        """Load the language model."""
        from pyctcdecode import build_ctcdecoder

        if task.kind != "beam" or task.token_min_logp is None or not task.tokens:
            raise Skipped("is measured on beam search with its token cut only")
        letters = [" " if token == WORD_BOUNDARY else token for token in task.tokens]
        letters[BLANK] = ""
        ids = {letter: number for number, letter in enumerate(letters)}
        lm = str(task.lm) if task.lm else None
        decoder = build_ctcdecoder(
            letters, lm, alpha=task.lm_weight / log(10), beta=task.word_score
        )
        options = {
            "beam_width": task.beam_size,
            "token_min_logp": task.token_min_logp,
            "hotwords": task.hotwords or None,
            "hotword_weight": task.hotword_weight,
        }

        def labels(texts: list[str]) -> list[Labels]:
            return [np.array([ids[letter] for letter in text], np.int64) for text in texts]

        return Ready(lambda: [decoder.decode(row, **options) for row in task.emission], labels)
