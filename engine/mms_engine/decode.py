"""From decoded tokens to a transcript: words with times and confidence."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Alternative, Float32Array, Transcript, Word


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a transcript needs to know beside the tokens."""

    language: str
    vocabulary: Vocabulary
    duration: float
    """Seconds of audio."""
    frame_seconds: float
    first_frame: int = 0
    """Of the sound that times are counted from, where the utterance is a part of one."""

    def seconds(self, frame: int) -> float:
        """Return when a frame of the utterance begins, to the millisecond."""
        return round((self.first_frame + frame) * self.frame_seconds, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """Tokens that a decoder found, whichever it was; entry i of each array is token i."""

    tokens: npt.NDArray[np.int32]
    """Shape `[L]`: token ids, without blanks."""
    starts: npt.NDArray[np.int64]
    """Shape `[L]`: first frame of each token (inclusive)."""
    ends: npt.NDArray[np.int64]
    """Shape `[L]`: frame after the last (exclusive)."""
    scores: Float32Array
    """Shape `[L]`: mean natural-log probability of the token over its frames."""
    score: float = 0.0
    """What hypotheses are ranked by, in nats; 0 where there is only one."""
    log_prob: float = 0.0
    """Natural log of the probability of the tokens; 0 where there is only one."""


def transcript(hypotheses: Sequence[Hypothesis], utterance: Utterance, nbest: int) -> Transcript:
    """Put tokens together to words and text.

    Args:
        hypotheses: The best first, at least one.
        utterance: What they are hypotheses of.
        nbest: Different texts that are wanted.
    """
    distinct = _distinct(hypotheses, utterance.vocabulary)[:nbest]
    best = _alternative(distinct[0], utterance)
    others = [_alternative(hypothesis, utterance) for hypothesis in distinct[1:]]
    return Transcript(
        text=best.text,
        language=utterance.language,
        words=best.words,
        duration=utterance.duration,
        confidence=best.confidence,
        alternatives=(best, *others) if nbest > 1 else (),
    )


def _distinct(hypotheses: Iterable[Hypothesis], vocabulary: Vocabulary) -> list[Hypothesis]:
    """Leave out what reads as one before it, but for boundaries or special tokens."""
    by_words: dict[tuple[str, ...], Hypothesis] = {}
    for hypothesis in hypotheses:
        text = vocabulary.text(hypothesis.tokens.tolist())
        by_words.setdefault(tuple(text.split()), hypothesis)
    return list(by_words.values())


def _alternative(hypothesis: Hypothesis, utterance: Utterance) -> Alternative:
    tokens = hypothesis.tokens.tolist()
    groups = utterance.vocabulary.group(tokens)
    confidences, confidence = _confidences(hypothesis, groups)
    written, seconds = utterance.vocabulary.tokens, utterance.seconds
    starts, ends = hypothesis.starts.tolist(), hypothesis.ends.tolist()
    words = (
        Word(
            "".join([written[tokens[position]] for position in group]),
            seconds(starts[group[0]]),
            seconds(ends[group[-1]]),
            own,
        )
        for group, own in zip(groups, confidences, strict=True)
    )
    return Alternative(
        text=utterance.vocabulary.text(tokens),
        words=tuple(words),
        confidence=confidence,
        score=round(hypothesis.score, 6),
        log_prob=round(hypothesis.log_prob, 6),
    )


def _confidences(
    hypothesis: Hypothesis, groups: Sequence[Sequence[int]]
) -> tuple[list[float], float]:
    """Return the geometric mean of the tokens' probabilities over all their frames.

    Args:
        hypothesis: Whose tokens.
        groups: Positions in them of each word's, none empty.

    Returns:
        That of each word, and that of all words together, 0 without any.
    """
    if not groups:
        return [], 0.0
    chosen = np.array([position for group in groups for position in group])
    frames = hypothesis.ends[chosen] - hypothesis.starts[chosen]
    sums = hypothesis.scores[chosen].astype(np.float64) * frames
    first = list(itertools.accumulate(map(len, groups[:-1]), initial=0))
    means = np.add.reduceat(sums, first) / np.add.reduceat(frames, first)
    each = [round(min(1.0, math.exp(mean)), 6) for mean in means.tolist()]
    return each, round(min(1.0, math.exp(sums.sum() / frames.sum())), 6)
