"""Protocols of CTC decoders: one utterance step by step, and batches of utterances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mms_engine.decoding.hypothesis import Hypothesis
from mms_engine.decoding.options import HotwordPhrases
from mms_engine.encoder.emission import Emission
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Float32Array

Decoded = list[Hypothesis] | ValueError
"""Hypotheses of an utterance, best first and at least one; or why its logits are undecodable."""


class Decoding(Protocol):
    """Decoder state of one utterance."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Remarks for the user: words of the language model and hotwords that cannot be used."""
        ...


class StreamDecoding(Decoding, Protocol):
    """Decoder state of one utterance on the host, which can be read before the end."""

    def step(self, logits: Float32Array) -> None:
        """Decode the next frames.

        Args:
            logits: Shape `[T, V]`, C-contiguous.

        Raises:
            ValueError: they hold NaN or +inf.
        """

    def partial(self, tail: Float32Array) -> tuple[Hypothesis, int]:
        """Return the best hypothesis so far, and how many of its tokens can no longer change.

        Args:
            tail: Frames after those decoded, `[M, V]`; decoded for this call only.
        """
        ...

    def finish(self) -> list[Hypothesis]:
        """Return the hypotheses, best first, at least one."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRow:
    """One batch row: its decoder state and the frames to decode."""

    decoding: Any
    """From `DecoderBackend.start` of the same backend."""
    kept: slice
    """Frames of the row to decode; the others were context."""


class DecoderBackend(Protocol):
    """Decoder of many utterances, on the host or on the device that holds the logits.

    May be used from several threads at once.
    """

    @property
    def nbest(self) -> int:
        """Distinct texts that are wanted of an utterance."""
        ...

    def start(
        self,
        language: str,
        vocabulary: Vocabulary,
        hotwords: HotwordPhrases | None = None,
    ) -> Decoding:
        """Begin an utterance.

        Args:
            language: Code.
            vocabulary: Tokens of the language.
            hotwords: Phrases and scores of this utterance alone, in place of those of the
                options; `None` keeps these.

        Raises:
            LanguageModelError: the language model does not fit the language, hotwords cannot be
                used and the options are strict, or hotwords were given to greedy decoding.
        """
        ...

    def step(self, rows: Sequence[DecodeRow], emission: Emission) -> None:
        """Decode a batch: row i of the emission belongs to `rows[i]`.

        Undecodable logits (NaN, +inf) are an error of that utterance's `finish` only.
        """
        ...

    def finish(self, decodings: Sequence[Any]) -> list[Decoded]:
        """End utterances and return the result of each."""
        ...

    def close(self) -> None:
        """Free the device's memory. Utterances cannot continue."""
        ...
