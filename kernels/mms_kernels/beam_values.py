"""What goes into the prefix beam search and what comes out of it."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BeamOptions:
    """How the search goes.

    The defaults leave nothing out of an utterance of up to 1,000 frames but what the beam is too
    small for.
    """

    beam_size: int = 50
    """Hypotheses kept in each frame, 1 to 65,536."""
    blank: int = 0
    """Id of the blank."""
    token_min_logp: float = -math.inf
    """A token with a lower natural-log probability makes no new hypothesis. -5 is fast and loses
    nothing on the sharp output of a trained model, but much on a flat one. The blank and the
    last labels of hypotheses are never cut."""
    beam_threshold: float = math.inf
    """Hypotheses that score more nats below the best are dropped."""
    blank_skip: float = 1.0
    """In a frame whose blank has a greater probability every hypothesis only ends in a blank:
    fast, and what is left out is small where this is close to 1. At 1 nothing is."""
    lookback: int = 1000
    """Frames. Hypotheses that differ from the best in what it said longer ago are dropped; at 0
    none is. It bounds memory and the age of what is not `stable`, and leaves the beam to what is
    said now: otherwise one place that reads in two ways keeps everything after it open and takes
    half of the beam. On 20,000 sharp frames (beam 100) the best hypothesis has log-probability
    -371.0 with 1000 and -373.2 with 0."""
    lm_weight: float = 0.0
    """Nats for each log10 unit of the language model; at 0 it is not asked."""
    word_score: float = 0.0
    """Nats for each unit of a hypothesis, with or without a language model."""
    unit: Literal["word", "token"] = "word"
    """What the language model scores and `word_score` counts: the text between separators, when
    the separator or the end comes; or each token."""
    separator: int | None = None
    """Id of the token between words."""


@dataclass(frozen=True, slots=True, eq=False)
class BeamTokens:
    """Tokens in order of time: entry i of each array is token i, frames are of the best path."""

    tokens: Int32Array
    """Shape `[L]`: token ids."""
    starts: Int64Array
    """Shape `[L]`: first frame of each token (inclusive)."""
    ends: Int64Array
    """Shape `[L]`: frame after the last (exclusive)."""
    scores: Float32Array
    """Shape `[L]`: mean natural-log probability of the token over its frames."""
    peaks: Float32Array
    """Shape `[L]`: the greatest of these log-probabilities."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis(BeamTokens):
    """A labelling."""

    log_prob: float
    """Natural-log probability of the labelling: the sum over all paths, as far as they were in
    the beam. Of the whole utterance, also where tokens have been taken."""
    lm_score: float
    """log10 probability by the language model; 0 without one."""
    bonus: float
    """Nats of the hotwords."""
    score: float
    """`log_prob + lm_weight * lm_score + word_score * units + bonus`: the order of hypotheses."""


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """What is known before the end. Scores are without what the end would add."""

    hypotheses: list[Hypothesis]
    """The best first; empty only where a lexicon leaves no hypothesis."""
    stable: int
    """How many leading tokens all hypotheses of the beam share: they can no longer change, though
    the frames of the last of them may."""
