"""Options of routing."""

from dataclasses import dataclass, field

from mms_engine.routing.rerank import RerankWeights

MAX_RERANKED = 32
"""Most languages to decode a recording in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOptions:
    """Options of a `Router`."""

    among: tuple[str, ...] | None = None
    """Languages to choose from: codes, tags or names; `None` for all of the identifier."""
    switching: bool | None = None
    """Whether the language may change within a recording or stream; `None` for streams only. If
    not, one language is chosen for the whole."""
    nearest: bool = False
    """Whether speech in a language without an adapter is recognised with that of the most likely
    language that has one. Otherwise it is an error of the recording; a stream has no text then."""
    rerank: int = 1
    """Most likely languages to decode a recording in; the best text decides (arXiv 2409.18428).
    1 to decode in the most likely language only. Not for streams or with `switching`."""
    weights: RerankWeights = field(default_factory=RerankWeights)
    """Weights of the features by which `rerank` chooses."""
    switching_penalty: float = 4.0
    """Loss of log-probability, in nats, that a change of language must make up for."""

    def __post_init__(self) -> None:
        if not 1 <= self.rerank <= MAX_RERANKED:
            raise ValueError(f"rerank is {self.rerank}, must be 1 to {MAX_RERANKED}")
        if self.rerank > 1 and self.switching:
            raise ValueError("rerank and switching exclude each other: one language per recording")
        if not 0 <= self.switching_penalty < float("inf"):
            raise ValueError(
                f"switching_penalty is {self.switching_penalty}, must be 0 or more, and finite"
            )
