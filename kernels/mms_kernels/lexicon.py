"""CTC beam search over a closed vocabulary: a list of words and their spellings."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc, arrays
from mms_kernels.arrays import ScoreKind, TimedTokens
from mms_kernels.lm import LanguageModel

Spelling = tuple[Sequence[int], int]
"""Tokens of a word, and its index among the words."""


@dataclass(frozen=True, slots=True)
class LexiconOptions:
    """Options of the search; its rules are those of flashlight's `LexiconDecoder`."""

    beam_size: int = 500
    """Hypotheses kept in each frame, 1 to 65,536."""
    blank: int = 0
    """Id of the blank."""
    separator: int | None = None
    """Id of the token between words, the last of every spelling; `None` for words without."""
    beam_threshold: float = math.inf
    """Hypotheses whose score is further (nats) below the best are dropped."""
    lm_weight: float = 0.0
    """Weight (nats) of the language model's log10 probability; at 0 the model is not used."""
    word_score: float = 0.0
    """Nats added for each word."""
    sum_paths: bool = False
    """Whether a hypothesis has the sum of its paths' probabilities, rather than the greatest."""
    open_end: bool = True
    """Whether the last word may lack its separator, which flashlight requires."""


@dataclass(frozen=True, slots=True, eq=False)
class LexiconHypothesis(TimedTokens):
    """Words of an utterance, by their index, with the frames and scores of their letters."""

    log_prob: float
    """Natural-log probability of the best path, or of the sum of the paths."""
    lm_score: float
    """log10 probability by the language model; 0 without one."""
    score: float
    """`log_prob + lm_weight * lm_score + word_score * words`, by which hypotheses are ranked."""


class Lexicon:
    """Words by their spellings. Words may share a spelling, and have several. Immutable."""

    def __init__(self, spellings: Sequence[Spelling], words: Sequence[str]) -> None:
        """Build the trie.

        Args:
            spellings: Tokens of each spelling, and the index of its word.
            words: Text of the words, by index: their form in a language model.

        Raises:
            ValueError: there is no spelling, one is empty, or a number is negative or too large.
        """
        self.words = tuple(words)
        ids = np.array([word for _, word in spellings], np.int32)
        if ids.size and int(ids.max()) >= len(self.words):
            raise ValueError(
                f"a spelling is of word {int(ids.max())}, there are {len(self.words)} words"
            )
        lengths = np.array([len(tokens) for tokens, _ in spellings], np.int64)
        tokens = np.array([token for tokens, _ in spellings for token in tokens], np.int32)
        self._trie = _ctc.Lexicon(tokens, lengths, ids)

    @property
    def trie(self) -> _ctc.Lexicon:
        """Native object, for the decoder."""
        return self._trie


class LexiconDecoder:
    """Options and models of a search. Immutable and thread-safe."""

    def __init__(
        self,
        lexicon: Lexicon,
        options: LexiconOptions | None = None,
        *,
        lm: LanguageModel | None = None,
    ) -> None:
        """Check the options and models.

        Args:
            lexicon: Words and spellings.
            options: Options of the search.
            lm: Language model over the words' texts.

        Raises:
            ValueError: an option is out of range.
        """
        self.options = options or LexiconOptions()
        self.lexicon = lexicon
        values = asdict(self.options)
        if self.options.separator is None:
            values["separator"] = -1
        self._decoder = _ctc.LexiconDecoder(
            **values, lexicon=lexicon.trie, lm=lm and lm.model, words=list(lexicon.words)
        )

    def __repr__(self) -> str:
        return f"LexiconDecoder({len(self.lexicon.words)} words, {self.options})"

    def stream(self, *, kind: ScoreKind = "logits") -> "LexiconStream":
        """Return a stream at the start of an utterance.

        Args:
            kind: "logits" are normalised with a log-softmax; "log_probs" are used unchanged.
        """
        return LexiconStream(_ctc.LexiconStream(self._decoder), kind)


class LexiconStream:
    """Search over one utterance that arrives in chunks; made by `LexiconDecoder.stream`.

    Any chunking gives the same bits. A step that raises leaves the stream unchanged. Calls from
    several threads are serialised.
    """

    def __init__(self, stream: _ctc.LexiconStream, kind: ScoreKind) -> None:
        self._stream = stream
        self._kind = kind

    def __repr__(self) -> str:
        return f"LexiconStream({self.frames} frames)"

    @property
    def frames(self) -> int:
        """Frames read since the start of the utterance."""
        return self._stream.frames

    @property
    def live(self) -> int:
        """Word sequences and times in memory."""
        return self._stream.live

    def step(self, logits: npt.NDArray[Any]) -> None:
        """Read the next frames.

        Args:
            logits: Shape `[T, V]`, float32, float16 or bfloat16 (ml_dtypes), C-contiguous; V is
                constant. -inf rules a token out.

        Raises:
            TypeError: An array of another dtype.
            ValueError: An array of another shape or memory order, a vocabulary smaller than the
                lexicon's, or a frame with NaN or +inf, or with -inf for every token.
        """
        self._stream.step(arrays.scores("logits", logits, "TV"), self._kind)

    def partial(self) -> tuple[LexiconHypothesis, int]:
        """Return the best hypothesis so far, and how many of its words can no longer change.

        Its scores exclude what the end would add, and the word that is not complete.
        """
        best, stable = self._stream.partial()
        return _hypothesis(best), stable

    def finish(self, *, nbest: int = 1) -> list[LexiconHypothesis]:
        """Return the best hypotheses, with different words, at most `nbest`, and reset the stream.

        Those whose last word is complete; without any, all without their last word. Empty if every
        path has probability zero.
        """
        found = [_hypothesis(one) for one in self._stream.results(nbest)]
        self._stream.reset()
        return found

    def reset(self) -> None:
        """Return to the start of an utterance."""
        self._stream.reset()

    def copy(self) -> "LexiconStream":
        """Return an independent stream in the same state."""
        return LexiconStream(self._stream.copy(), self._kind)


def _hypothesis(row: tuple[Any, float, float, float]) -> LexiconHypothesis:
    words, *numbers = row
    return LexiconHypothesis(*words, *numbers)
