"""flashlight-text: the lexicon-free decoder that torchaudio and the recipe of MMS use."""

import numpy as np

from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Labels, Ready, load_emission
from mms_bench.peers.installed import versions

_OPEN = 1e9
"""A beam threshold that cuts nothing: the beam's size alone decides."""


class Flashlight:
    """With `log_add`, so that it sums over paths as the others do; its default is the maximum."""

    name = "flashlight-text"

    def version(self) -> dict[str, str]:
        """Return its version."""
        found = versions("flashlight-text")
        import flashlight.lib.text.decoder  # noqa: F401 - imported before anything is timed

        return found

    def ready(self, task: Task) -> Ready:
        """Make a decoder."""
        from flashlight.lib.text import decoder as text

        if task.kind != "beam" or task.lm or task.hotwords or task.threads != 1:
            raise NotHere("is measured on plain beam search only")
        if task.token_min_logp is not None:
            raise NotHere("cuts tokens by number, not by probability")
        emission = load_emission(task)
        _, frames, vocab = emission.shape
        options = text.LexiconFreeDecoderOptions(
            beam_size=task.beam_size,
            beam_size_token=task.tokens or vocab,
            beam_threshold=_OPEN,
            lm_weight=0.0,
            sil_score=0.0,
            log_add=True,
            criterion_type=text.CriterionType.CTC,
        )
        # No token is its silence: the score of that is 0.
        decoder = text.LexiconFreeDecoder(options, text.ZeroLM(), -1, 0, [])
        return Ready(
            lambda: [decoder.decode(row.ctypes.data, frames, vocab)[0] for row in emission],
            lambda found: [_labels(result.tokens) for result in found],
        )


def _labels(tokens: list[int]) -> Labels:
    """Return what one token a frame reads as."""
    from mms_bench.ctc.scores import collapse

    path = np.array([token for token in tokens if token >= 0], np.int64)
    return np.asarray(collapse(path), np.int64)
