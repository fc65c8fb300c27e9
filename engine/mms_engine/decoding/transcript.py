"""Transcripts of hypotheses: words with times and confidence."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Alternative, Transcript, Word


@dataclass(frozen=True, slots=True)
class UtteranceInfo:
    """Language, vocabulary and timing of an utterance."""

    language: str
    vocabulary: Vocabulary
    duration: float
    """Seconds of audio."""
    frame_seconds: float
    first_frame: int = 0
    """Frame of the audio at which the utterance begins, where it is a part of one."""

    def seconds(self, frame: int) -> float:
        """Return the start of a frame in the audio, in seconds to the millisecond."""
        return round((self.first_frame + frame) * self.frame_seconds, 3)


def transcript(
    hypotheses: Sequence[Hypothesis], utterance: UtteranceInfo, nbest: int
) -> Transcript:
    """Return the transcript of an utterance.

    Args:
        hypotheses: Best first, at least one.
        utterance: The utterance they belong to.
        nbest: Distinct texts that are wanted.
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
    """Drop hypotheses whose words equal those of a better one."""
    by_words: dict[tuple[str, ...], Hypothesis] = {}
    for hypothesis in hypotheses:
        text = text_of(hypothesis, vocabulary)
        by_words.setdefault(tuple(text.split()), hypothesis)
    return list(by_words.values())


def text_of(hypothesis: Hypothesis, vocabulary: Vocabulary, count: int | None = None) -> str:
    """Return the text of a hypothesis, or of its first `count` entries."""
    if hypothesis.words is not None:
        return " ".join(hypothesis.words[:count])
    return vocabulary.text(hypothesis.tokens[:count].tolist())


def _entries(
    hypothesis: Hypothesis, vocabulary: Vocabulary
) -> tuple[Sequence[str], list[list[int]]]:
    """Return the text of each entry, and the positions of each word's entries."""
    if hypothesis.words is not None:
        return hypothesis.words, [[i] for i in range(len(hypothesis.words))]
    tokens = hypothesis.tokens.tolist()
    return [vocabulary.tokens[token] for token in tokens], vocabulary.group(tokens)


def _alternative(hypothesis: Hypothesis, utterance: UtteranceInfo) -> Alternative:
    texts, groups = _entries(hypothesis, utterance.vocabulary)
    confidences, confidence = _confidences(hypothesis, groups)
    seconds = utterance.seconds
    starts, ends = hypothesis.starts.tolist(), hypothesis.ends.tolist()
    words = (
        Word(
            "".join([texts[position] for position in group]),
            seconds(starts[group[0]]),
            seconds(ends[group[-1]]),
            own,
        )
        for group, own in zip(groups, confidences, strict=True)
    )
    return Alternative(
        text=text_of(hypothesis, utterance.vocabulary),
        words=tuple(words),
        confidence=confidence,
        score=round(hypothesis.score, 6),
        log_prob=round(hypothesis.log_prob, 6),
    )


def _confidences(
    hypothesis: Hypothesis, groups: Sequence[Sequence[int]]
) -> tuple[list[float], float]:
    """Return geometric means of token probabilities over their frames.

    Args:
        hypothesis: The tokens.
        groups: Positions of each word's tokens, none empty.

    Returns:
        The mean of each word, and the mean over all words, 0 without any.
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
