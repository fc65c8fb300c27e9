"""What one call of a decoder or an aligner does."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["greedy", "beam", "align", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One call, with all that decides its result."""

    kind: Kind
    """`stream`: the next block of an utterance that has gone on for `age` frames."""
    emission: str
    """A `.npy` file of float32[B, T, V]: natural-log probabilities; token 0 is the blank."""
    beam_size: int = 0
    token_min_logp: float | None = None
    """Tokens less likely are not tried in that frame; None to try all."""
    tokens: int | None = None
    """How many of the most likely tokens of a frame a decoder may confine itself to, where that
    is the only way to be of use; None for no such leave."""
    lm: str = ""
    """An ARPA file of words; empty for none."""
    lm_weight: float = 0.0
    """Of the log10 probability."""
    word_score: float = 0.0
    """Nats a word."""
    closed: bool = False
    """Whether only the model's words may be said; a decoder without that may do what it does."""
    hotwords: str = ""
    """A text file with a phrase a line; empty for none."""
    hotword_weight: float = 0.0
    """Nats a phrase."""
    targets: str = ""
    """For `align`: a `.npy` file of int32[L]."""
    memory: int | None = None
    """For `align`: bytes it may take; None for as many as it likes."""
    age: int = 0
    threads: int = 1
