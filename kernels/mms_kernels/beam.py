"""CTC prefix beam search: the most likely labellings, with a language model and hotwords."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from mms_kernels import _ctc, arrays
from mms_kernels.beam_values import (
    BeamOptions,
    BeamTokens,
    Float32Array,
    Hypothesis,
    Int32Array,
    Int64Array,
    Partial,
)
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import LanguageModel


class Lexicon:
    """The words that may be said, as tokens. Immutable, for any number of streams and threads."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        """Build the trie.

        Raises:
            ValueError: no words, a word without tokens, or a negative token.
        """
        self._trie = _ctc.Lexicon(words)

    def __contains__(self, word: Sequence[int]) -> bool:
        return self._trie.contains(word)

    @property
    def trie(self) -> _ctc.Lexicon:
        """What the decoder takes."""
        return self._trie


class BeamDecoder:
    """Options and models of a search. Immutable, for any number of streams and threads."""

    def __init__(
        self,
        options: BeamOptions | None = None,
        *,
        lm: LanguageModel | None = None,
        hotwords: Hotwords | None = None,
        lexicon: Lexicon | None = None,
        tokens: Sequence[str] = (),
    ) -> None:
        """Check everything.

        Args:
            options: How to search.
            lm: Its units are words, or tokens, as `options.unit` says.
            hotwords: Phrases over the same tokens.
            lexicon: Words to be written, each followed by the separator or the end; no others.
            tokens: How each token is written. Needed with a language model.

        Raises:
            ValueError: an option out of range, or a model that lacks tokens or a separator.
        """
        self.options = options or BeamOptions()
        separator = self.options.separator
        self._decoder = _ctc.BeamDecoder(
            self.options.beam_size,
            self.options.blank,
            self.options.token_min_logp,
            self.options.beam_threshold,
            self.options.blank_skip,
            self.options.lookback,
            self.options.lm_weight,
            self.options.word_score,
            self.options.unit,
            -1 if separator is None else separator,
            list(tokens),
            lm and lm.model,
            hotwords and hotwords.automaton,
            lexicon and lexicon.trie,
        )

    def __repr__(self) -> str:
        return f"BeamDecoder({self.options})"

    def stream(
        self, *, kind: arrays.ScoreKind = "logits", hotwords: Hotwords | None = None
    ) -> "BeamStream":
        """Return a stream at the start of an utterance.

        Args:
            kind: "logits" need not be normalised; "log_probs" are taken as they are.
            hotwords: The stream's own, instead of the decoder's, which `None` keeps; one without
                phrases for none. All else is shared with the decoder.
        """
        return BeamStream(_ctc.BeamStream(self._decoder, hotwords and hotwords.automaton), kind)

    def decode(
        self,
        logits: npt.NDArray[Any],
        lengths: Int64Array,
        *,
        kind: arrays.ScoreKind = "logits",
        threads: int = 1,
        nbest: int = 1,
    ) -> list[list[Hypothesis]]:
        """Decode a batch.

        The result does not depend on `threads`, nor on what else is in the batch.

        Args:
            logits: Shape `[B, T, V]`, float32, float16 or bfloat16 (of ml_dtypes), C-contiguous.
                -inf rules a token out.
            lengths: Shape `[B]`: valid frames of each row, at most T; frames beyond are not read.
            kind: "logits" need not be normalised; "log_probs" are taken as they are.
            threads: Threads to use at most, at least 1.
            nbest: Hypotheses to return at most, at least 1.

        Returns:
            For each row its hypotheses, the best first; none where the lexicon allows none.

        Raises:
            TypeError: an array of another type.
            ValueError: an array of another shape or memory order, a length or option out of
                range, another vocabulary than that of the models, or a valid frame that holds NaN
                or +inf, or -inf for every token.
        """
        scores = arrays.scores("logits", logits, "BTV")
        arrays.check("lengths", lengths, ("int64",), "B")
        arrays.check_rows("logits", scores, "lengths", lengths)
        rows = self._decoder.decode(scores, lengths, kind, nbest, threads)
        return [[_hypothesis(*one) for one in row] for row in rows]


class BeamStream:
    """The search over one utterance that arrives in pieces; `BeamDecoder.stream` makes one.

    Any cut gives bit for bit the result of one piece. A step that raises leaves the stream as it
    was. Threads may share a stream; their calls come one after the other.
    """

    def __init__(self, stream: _ctc.BeamStream, kind: arrays.ScoreKind) -> None:
        self._stream = stream
        self._kind = kind

    def __repr__(self) -> str:
        return f"BeamStream({self.frames} frames)"

    @property
    def frames(self) -> int:
        """Frames read since the start of the utterance."""
        return self._stream.frames

    @property
    def live(self) -> int:
        """Prefixes and token spans in memory beside those that are stable."""
        return self._stream.live

    def step(self, logits: npt.NDArray[Any]) -> None:
        """Read the next frames.

        Args:
            logits: Shape `[T, V]`, of the types of `BeamDecoder.decode`; V is the same in each
                step.

        Raises:
            TypeError: an array of another type.
            ValueError: as for `BeamDecoder.decode`.
        """
        self._stream.step(arrays.scores("logits", logits, "TV"), self._kind)

    def partial(self, *, nbest: int = 1) -> Partial:
        """Return the best hypotheses so far, at most `nbest`."""
        hypotheses, stable = self._stream.partial(nbest)
        return Partial([_hypothesis(*one) for one in hypotheses], stable)

    def take_stable(self) -> BeamTokens:
        """Return, and forget, the leading tokens that can no longer change, nor their frames.

        The tokens of later results, and what is `stable` of them, begin after those.
        """
        return BeamTokens(*self._stream.take_stable())

    def finish(self, *, nbest: int = 1) -> list[Hypothesis]:
        """Return the best hypotheses of the utterance, at most `nbest`, and start over."""
        hypotheses = [_hypothesis(*one) for one in self._stream.results(nbest)]
        self._stream.reset()
        return hypotheses

    def reset(self) -> None:
        """Start over."""
        self._stream.reset()

    def copy(self) -> "BeamStream":
        """Return a stream in the same state that goes on independently."""
        return BeamStream(self._stream.copy(), self._kind)


def _hypothesis(
    tokens: tuple[Int32Array, Int64Array, Int64Array, Float32Array, Float32Array],
    log_prob: float,
    lm_score: float,
    bonus: float,
    score: float,
) -> Hypothesis:
    return Hypothesis(*tokens, log_prob, lm_score, bonus, score)
