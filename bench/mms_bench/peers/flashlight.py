"""flashlight-text: the lexicon-free decoder of torchaudio and of the MMS recipe."""

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, Ready, Task, collapse
from mms_engine.text.vocabulary import BLANK


class Flashlight(Peer):
    """Decoder with `log_add`, so that it sums over paths; its default takes the maximum."""

    packages = ("flashlight-text",)
    imports = ("flashlight.lib.text.decoder",)

    def ready(self, task: Task) -> Ready:
        """Create a decoder without silence (-1) or beam threshold: the size alone decides."""
        from flashlight.lib.text import decoder as text

        if task.kind != "beam" or task.lm or task.hotwords:
            raise Skipped("is measured on plain beam search only")
        if task.token_min_logp is not None:
            raise Skipped("limits tokens by number, not by probability")
        emission = task.emission
        _, frames, vocab = emission.shape
        options = text.LexiconFreeDecoderOptions(
            beam_size=task.beam_size,
            beam_size_token=task.token_limit or vocab,
            beam_threshold=1e9,
            lm_weight=0.0,
            sil_score=0.0,
            log_add=True,
            criterion_type=text.CriterionType.CTC,
        )
        decoder = text.LexiconFreeDecoder(options, text.ZeroLM(), -1, BLANK, [])
        return Ready(
            lambda: [decoder.decode(row.ctypes.data, frames, vocab)[0] for row in emission],
            lambda found: [collapse([t for t in one.tokens if t >= 0]) for one in found],
        )
