"""Reference of the prefix beam search."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = tuple[int, ...]
Array = npt.NDArray[Any]
NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Path:
    """Best single path of a prefix, ending in the blank or in the last label."""

    score: float = NEVER
    frames: tuple[tuple[int, int], ...] = ()
    """First frame of each token, and the frame after its last."""

    def then(self, log_prob: float) -> "Path":
        """Return the path extended by a blank frame."""
        return Path(self.score + log_prob, self.frames)

    def hold(self, log_prob: float, frame: int) -> "Path":
        """Return the path extended by a frame of its last token."""
        frames = (*self.frames[:-1], (self.frames[-1][0], frame + 1)) if self.frames else ()
        return Path(self.score + log_prob, frames)

    def extend(self, log_prob: float, frame: int) -> "Path":
        """Return the path extended by a token that begins in `frame`."""
        return Path(self.score + log_prob, (*self.frames, (frame, frame + 1)))


@dataclass(slots=True)
class Prefix:
    """Hypothesis: log-probabilities of its paths that end in a blank and in the last label."""

    blank: float = NEVER
    label: float = NEVER
    blank_path: Path = field(default_factory=Path)
    label_path: Path = field(default_factory=Path)

    @property
    def total(self) -> float:
        """log(p_blank + p_label)."""
        return float(np.logaddexp(self.blank, self.label))

    @property
    def path(self) -> Path:
        """The better path; of equals the one that ends in a blank."""
        return self.label_path if self.label_path.score > self.blank_path.score else self.blank_path


@dataclass(frozen=True, slots=True)
class Rules:
    """Options of the search, as in `BeamOptions`."""

    beam_size: int
    blank: int = 0
    token_min_logp: float = NEVER
    beam_threshold: float = math.inf
    blank_skip: float = 1.0


def beam_search(
    log_probs: Array, rules: Rules, gain: Callable[[Tokens], float] = lambda _: 0.0
) -> dict[Tokens, Prefix]:
    """Search and return the final beam, best first.

    Args:
        log_probs: Shape `[T, V]`, natural logarithms.
        rules: Options.
        gain: Addition to a prefix's log-probability in its score; -inf rules the prefix out.
    """
    beam: dict[Tokens, Prefix] = {(): Prefix(blank=0.0, blank_path=Path(0.0))}
    for frame, row in enumerate(np.asarray(log_probs, np.float64)):
        if row[rules.blank] > math.log(rules.blank_skip):
            beam = {prefix: _separated(state) for prefix, state in beam.items()}
        else:
            beam = _best(_advanced(beam, row, frame, rules), list(beam), rules, gain)
    return beam


def _separated(state: Prefix) -> Prefix:
    return Prefix(blank=state.total, blank_path=state.path)


def _advanced(
    beam: dict[Tokens, Prefix], row: Array, frame: int, rules: Rules
) -> dict[Tokens, Prefix]:
    """All prefixes one frame later, new ones last."""
    after = {prefix: _stay(prefix, state, row, frame, rules) for prefix, state in beam.items()}
    lowest = min(rules.token_min_logp, row.max())  # the most likely token is never cut
    for prefix, state in beam.items():
        for token in range(len(row)):
            extended = (*prefix, token)
            cut = extended not in beam and row[token] < lowest
            if token != rules.blank and not cut:
                repeats = prefix[-1:] == (token,)
                _extend(after, extended, state, repeats, row[token], frame)
    return after


def _stay(prefix: Tokens, state: Prefix, row: Array, frame: int, rules: Rules) -> Prefix:
    after = Prefix(state.total + row[rules.blank], blank_path=state.path.then(row[rules.blank]))
    if prefix:
        after.label = state.label + row[prefix[-1]]
        after.label_path = state.label_path.hold(row[prefix[-1]], frame)
    return after


def _extend(
    after: dict[Tokens, Prefix],
    extended: Tokens,
    state: Prefix,
    repeats: bool,
    log_prob: float,
    frame: int,
) -> None:
    target = after.setdefault(extended, Prefix())
    sum_in, path_in = (state.blank, state.blank_path) if repeats else (state.total, state.path)
    target.label = float(np.logaddexp(target.label, sum_in + log_prob))
    path = path_in.extend(log_prob, frame)
    if path.score > target.label_path.score:
        target.label_path = path


def _best(
    after: dict[Tokens, Prefix],
    ranks: list[Tokens],
    rules: Rules,
    gain: Callable[[Tokens], float],
) -> dict[Tokens, Prefix]:
    """The beam in order of score, rank of the kept or extended prefix, token."""
    rank = {prefix: place for place, prefix in enumerate(ranks)}

    def order(entry: tuple[float, Tokens]) -> tuple[float, int, int]:
        score, prefix = entry
        if prefix in rank:
            return (-score, rank[prefix], -1)
        return (-score, rank[prefix[:-1]], prefix[-1])

    scored = [(state.total + gain(prefix), prefix) for prefix, state in after.items()]
    possible = sorted((entry for entry in scored if entry[0] > NEVER), key=order)
    kept = [
        prefix
        for score, prefix in possible[: rules.beam_size]
        if score >= possible[0][0] - rules.beam_threshold
    ]
    return {prefix: after[prefix] for prefix in kept}


def labellings(log_probs: Array, blank: int = 0) -> dict[Tokens, float]:
    """Return the log-probability of every labelling, by enumerating all V^T paths.

    Args:
        log_probs: Shape `[T, V]`, small.
        blank: Id of the blank.
    """
    sums: dict[Tokens, float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != blank)
        score = float(sum(row[token] for row, token in zip(log_probs, path, strict=True)))
        sums[tokens] = float(np.logaddexp(sums.get(tokens, NEVER), score))
    return sums


def labelling_log_prob(log_probs: Array, tokens: Tokens, blank: int = 0) -> float:
    """Return the log-probability of one labelling by the CTC forward recursion.

    Args:
        log_probs: Shape `[T, V]`.
        tokens: The labelling.
        blank: Id of the blank.
    """
    states = [blank]
    for token in tokens:
        states += [token, blank]
    alpha = np.full(len(states), NEVER)
    alpha[0] = 0.0
    # The blank between two different labels is optional.
    skips = np.array(
        [state not in (blank, *states[i - 2 : i - 1]) for i, state in enumerate(states)]
    )
    skips[:2] = False
    for row in np.asarray(log_probs, np.float64):
        one = np.concatenate([[NEVER], alpha[:-1]])
        two = np.concatenate([[NEVER, NEVER], alpha[:-2]])[: len(states)]
        reached = np.logaddexp(alpha, one)
        reached = np.where(skips, np.logaddexp(reached, two), reached)
        alpha = reached + row[states]
    return float(np.logaddexp(alpha[-1], alpha[-2] if len(states) > 1 else NEVER))
