"""CTC prefix beam search: the most likely labellings, with language models and hotwords."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy.typing as npt

from mms_kernels import _ctc, arrays
from mms_kernels.arrays import Int64Array, ScoreKind, TimedTokens
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import LanguageModel


@dataclass(frozen=True, slots=True)
class BeamOptions:
    """Options of the search.

    The defaults are exact for utterances of up to 1,000 frames, except for the limited beam.
    """

    beam_size: int = 50
    """Hypotheses kept in each frame, 1 to 65,536."""
    blank: int = 0
    """Id of the blank."""
    token_min_logp: float = -math.inf
    """Minimum natural-log probability of a token that extends a hypothesis. -5 is fast and loses
    nothing on the peaky output of a trained model, but much on a diffuse one. Blanks, repeated
    labels and the most likely token of a frame are never cut."""
    beam_threshold: float = math.inf
    """Hypotheses whose score is further (nats) below the best are dropped."""
    blank_skip: float = 1.0
    """Probability of the blank above which a frame only separates labels: a fast approximation,
    good close to 1. At 1 no frame is skipped."""
    lookback: int = 1000
    """Frames after which a difference from the best hypothesis drops a hypothesis; checked every
    64 frames. It bounds memory and the age of tokens that are not `stable`, and frees the beam
    from old ambiguities: on 20,000 peaky frames (beam 100) the best hypothesis has
    log-probability -371.0 with 1000 and -373.2 with 0. At 0 nothing is dropped."""
    lm_weight: float = 0.0
    """Weight (nats) of the language model's log10 probability; at 0 the model is not used."""
    word_score: float = 0.0
    """Nats added for each unit of a hypothesis, with or without a language model."""
    unit: Literal["word", "token"] = "word"
    """Unit of the language model and of `word_score`: the text between separators, scored when
    the separator or the end comes; or each token."""
    separator: int | None = None
    """Id of the token between words."""


class BeamTokens(TimedTokens):
    """Tokens of a hypothesis; frames are those of its best path."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis(BeamTokens):
    """A labelling of the utterance, with its scores."""

    log_prob: float
    """Natural-log probability of the labelling: the sum over all its paths that stayed in the
    beam. It covers the whole utterance, including tokens already taken."""
    lm_score: float
    """log10 probability by the language model; 0 without one."""
    bonus: float
    """Hotword bonus in nats."""
    score: float
    """`log_prob + lm_weight * lm_score + word_score * units + bonus`, by which hypotheses are
    ranked."""


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """Hypotheses before the end of the utterance; scores exclude what the end would add."""

    hypotheses: list[Hypothesis]
    """Best first; empty only if all have probability zero."""
    stable: int
    """Number of leading tokens shared by all hypotheses of the beam. They can no longer change,
    although the end of the last one may."""


class BeamDecoder:
    """Options and models of a search. Immutable and thread-safe."""

    def __init__(
        self,
        options: BeamOptions | None = None,
        *,
        lm: LanguageModel | None = None,
        hotwords: Hotwords | None = None,
        tokens: Sequence[str] = (),
    ) -> None:
        """Check the options and models.

        Args:
            options: Options of the search.
            lm: Language model over words or tokens, according to `options.unit`.
            hotwords: Phrases over the same vocabulary.
            tokens: Text of each token, by id; required with a language model.

        Raises:
            ValueError: An option out of range, or a model without its tokens or separator.
        """
        self.options = options or BeamOptions()
        values = asdict(self.options)
        if self.options.separator is None:
            values["separator"] = -1
        self._decoder = _ctc.BeamDecoder(
            **values,
            tokens=list(tokens),
            lm=lm and lm.model,
            hotwords=hotwords and hotwords.automaton,
        )

    def __repr__(self) -> str:
        return f"BeamDecoder({self.options})"

    def stream(
        self, *, kind: ScoreKind = "logits", hotwords: Hotwords | None = None
    ) -> "BeamStream":
        """Return a stream at the start of an utterance.

        Args:
            kind: "logits" are normalised with a log-softmax; "log_probs" are used unchanged.
            hotwords: Replacement for the decoder's hotwords; an empty one disables them, `None`
                keeps them. Everything else is shared with the decoder.
        """
        return BeamStream(_ctc.BeamStream(self._decoder, hotwords and hotwords.automaton), kind)

    def decode(
        self,
        logits: npt.NDArray[Any],
        lengths: Int64Array,
        *,
        kind: ScoreKind = "logits",
        threads: int = 1,
        nbest: int = 1,
    ) -> list[list[Hypothesis]]:
        """Decode a batch.

        A result depends neither on `threads` nor on the rest of the batch.

        Args:
            logits: Shape `[B, T, V]`, float32, float16 or bfloat16 (ml_dtypes), C-contiguous.
                -inf rules a token out.
            lengths: Shape `[B]`: valid frames of each row, at most T; frames beyond are not read.
            kind: "logits" are normalised with a log-softmax; "log_probs" are used unchanged.
            threads: Maximum number of threads, at least 1.
            nbest: Maximum number of hypotheses per row, at least 1.

        Returns:
            The hypotheses of each row, best first.

        Raises:
            TypeError: An array of another dtype.
            ValueError: An array of another shape or memory order, a length or option out of
                range, a vocabulary that does not match the models, or a valid frame with NaN or
                +inf, or with -inf for every token.
        """
        scores = arrays.batch_scores(logits, lengths)
        rows = self._decoder.decode(scores, lengths, kind, nbest, threads)
        return [_hypotheses(row) for row in rows]


class BeamStream:
    """Search over one utterance that arrives in chunks; made by `BeamDecoder.stream`.

    Any chunking gives the same bits. A step that raises leaves the stream unchanged. Calls from
    several threads are serialised.
    """

    def __init__(self, stream: _ctc.BeamStream, kind: ScoreKind) -> None:
        self._stream = stream
        self._kind = kind

    def __repr__(self) -> str:
        return f"BeamStream({self.frames} frames)"

    @property
    def frames(self) -> int:
        """Frames read since the start of the utterance."""
        return self._stream.frames

    def step(self, logits: npt.NDArray[Any]) -> None:
        """Read the next frames.

        Args:
            logits: Shape `[T, V]`, with the dtypes of `BeamDecoder.decode`; V is constant.

        Raises:
            TypeError: An array of another dtype.
            ValueError: As for `BeamDecoder.decode`.
        """
        self._stream.step(arrays.scores("logits", logits, "TV"), self._kind)

    def partial(self, *, nbest: int = 1) -> Partial:
        """Return the best hypotheses so far, at most `nbest`."""
        hypotheses, stable = self._stream.partial(nbest)
        return Partial(_hypotheses(hypotheses), stable)

    def take_stable(self) -> BeamTokens:
        """Remove and return the leading tokens whose identity and frames can no longer change.

        Tokens of later results, and their `stable` count, begin after them.
        """
        return BeamTokens(*self._stream.take_stable())

    def finish(self, *, nbest: int = 1) -> list[Hypothesis]:
        """Return the best hypotheses of the utterance, at most `nbest`, and reset the stream."""
        hypotheses = _hypotheses(self._stream.results(nbest))
        self._stream.reset()
        return hypotheses

    def reset(self) -> None:
        """Return to the start of an utterance."""
        self._stream.reset()

    def copy(self) -> "BeamStream":
        """Return an independent stream in the same state."""
        return BeamStream(self._stream.copy(), self._kind)


def _hypotheses(rows: list[tuple[Any, float, float, float, float]]) -> list[Hypothesis]:
    return [Hypothesis(*tokens, *numbers) for tokens, *numbers in rows]
