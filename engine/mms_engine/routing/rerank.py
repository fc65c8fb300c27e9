"""Choice of a recording's language by the texts that several languages have for it.

Yan et al., Improving Multilingual ASR in the Wild Using Simple N-best Re-ranking, 2024
(arXiv 2409.18428): a weighted sum of features of each candidate, with weights fitted on
development data. Of the published features, those that need no further model are taken: the score
of language identification, the acoustic score of the text, and its length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mms_engine.types import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankWeights:
    """Weights of the features of a text in a candidate language; the largest sum is chosen.

    The defaults are a maximum-likelihood fit on 200 excerpts of 0.8 to 2.2 s, most of them noisy,
    of speakers that neither of the demo's models was trained on.
    """

    identification: float = 1.0
    """Weight of the log-probability of the language among those to choose from, in nats."""
    acoustic: float = 0.08
    """Weight of the summed log-probability of each frame's most likely token, in nats."""
    length: float = 0.19
    """Weight of the number of characters of the text."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A text in a candidate language, with its features."""

    transcript: Transcript
    identification: float
    acoustic: float

    def score(self, weights: RerankWeights) -> float:
        """Return the weighted sum of the features."""
        return (
            weights.identification * self.identification
            + weights.acoustic * self.acoustic
            + weights.length * len(self.transcript.text)
        )


def rerank(candidates: Sequence[Candidate], weights: RerankWeights) -> tuple[int, float]:
    """Return the index of the best candidate, the first of equal ones, and its probability.

    The probability is the softmax of the scores, for which the weights are fitted.
    """
    scores = [candidate.score(weights) for candidate in candidates]
    best = max(range(len(scores)), key=lambda index: scores[index])
    return best, 1 / sum(math.exp(score - scores[best]) for score in scores)
