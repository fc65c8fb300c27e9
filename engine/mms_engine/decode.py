"""From decoded tokens to a transcript: words with times and confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mms_engine.types import Transcript, Word
from mms_engine.vocab import Vocabulary
from mms_kernels import GreedyResult


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a transcript needs to know beside the tokens."""

    language: str
    vocabulary: Vocabulary
    duration: float
    """Seconds of audio."""
    frame_seconds: float


def transcript(result: GreedyResult, utterance: Utterance) -> Transcript:
    """Put tokens together to words and text."""
    tokens = result.tokens.tolist()
    groups = utterance.vocabulary.group(tokens)
    spoken = [position for group in groups for position in group]
    return Transcript(
        text=utterance.vocabulary.text(tokens),
        language=utterance.language,
        words=tuple(_word(result, group, utterance) for group in groups),
        duration=utterance.duration,
        confidence=_confidence(result, spoken) if spoken else 0.0,
    )


def _word(result: GreedyResult, positions: Sequence[int], utterance: Utterance) -> Word:
    return Word(
        text="".join(utterance.vocabulary.tokens[result.tokens[i]] for i in positions),
        start=round(float(result.starts[positions[0]]) * utterance.frame_seconds, 3),
        end=round(float(result.ends[positions[-1]]) * utterance.frame_seconds, 3),
        confidence=_confidence(result, positions),
    )


def _confidence(result: GreedyResult, positions: Sequence[int]) -> float:
    """Return the geometric mean of the tokens' probabilities over all their frames."""
    chosen = np.asarray(positions)
    frames = result.ends[chosen] - result.starts[chosen]
    mean = np.average(result.scores[chosen].astype(np.float64), weights=frames)
    return round(min(1.0, float(np.exp(mean))), 6)
