"""What a promise is."""

from dataclasses import dataclass
from typing import Literal

Quantity = Literal["seconds", "ratio", "cost", "rate", "each", "bytes", "figure", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One promise."""

    suite: str
    title: str
    case: str
    implementation: str
    limit: float
    quantity: Quantity
    """`ratio` is the baseline's median over this row's: larger is faster. `cost` is its inverse.
    `rate` is a second's amount, `each` the seconds of one of the amount. `figure` and `count` are
    the row's own, of the name `figure`. A ratio, a rate and a count must reach the limit, the
    others must not pass it."""
    figure: str = ""
    baseline: tuple[str, str] = ("", "")
    """Case and implementation, for a ratio or a cost."""
    full_size: bool = True
    """Whether it is meant for the true size only, and then with the plan's settings."""

    @property
    def at_least(self) -> bool:
        """Whether the limit must be reached, rather than not be passed."""
        return self.quantity in ("ratio", "rate", "count")
