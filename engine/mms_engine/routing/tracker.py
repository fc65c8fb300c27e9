"""Language of a stream: decided on its first speech, and followed with hysteresis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mms_engine.asr.streaming.language import LanguageDecision
from mms_engine.lid.activity import FrameLevels
from mms_engine.routing.candidates import Candidates, Scores
from mms_engine.routing.switching import snap
from mms_engine.types import Float32Array

_NEVER = 1 << 62
_MARGIN_SECONDS = 0.3
"""Audio before the first frame of speech by level that is recognised too."""
_PROBED_SECONDS = 0.5
"""Audio before a pause without which it is not classified."""
_LEAST_FRAMES = 5
"""Frames of speech without which the end of an utterance is not classified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """Times in seconds, and thresholds in nats, of a `StreamTracker`."""

    hop: float = 0.2
    """Audio between two looks at the level."""
    looks: tuple[float, ...] = (0.8, 1.6)
    """Time since the first speech at which an undecided stream is classified; at the last it is
    decided in any case."""
    least_speech: float = 0.3
    """Speech without which nothing is decided; less within the last look was a sound."""
    sure: float = 3.0
    """Log-odds of the best language against the second from which an earlier look decides."""
    window: float = 1.2
    """Audio of a window while listening."""
    interval: float = 4.0
    """Speech between two windows."""
    pause: float = 0.3
    """Silence after which speech is classified sooner."""
    after_pause: float = 0.7
    """Speech after a pause that is classified."""
    spacing: float = 3.0
    """Least time between two windows."""
    alert: float = 0.4
    """Speech until the next window after one that contradicts the language."""
    most: float = 6.0
    """Bound on the log-odds of one window."""
    switch: float = 4.0
    """Sum of log-odds against the language that changes it."""
    border: float = 1.0
    """Audio within which the place of a change is known."""
    lookback: float = 10.0
    """Audio that is kept."""


class StreamTracker:
    """Language of one stream; see `LanguageTracker`.

    While undecided, speech is classified from its start at a few looks. Then a window of recent
    speech is classified every few seconds, sooner after a pause. The log-odds of each other
    language against the current one, bounded per window, are summed from zero up (CUSUM); one that
    exceeds the threshold is the new language. It began at the last pause before the first window
    that contradicted, if what was said before the pause is in the old language. Otherwise the place
    is found by bisection between the last window that confirmed the old language and now, and moved
    to a pause. Silence is not classified, so it changes nothing.
    """

    def __init__(
        self,
        candidates: Candidates,
        stride: int,
        sample_rate: int,
        *,
        follow: bool = True,
        options: TrackerOptions | None = None,
    ) -> None:
        """Begin at frame 0, undecided.

        Args:
            candidates: Languages to choose from.
            stride: Samples of a frame.
            sample_rate: Sample rate in Hz.
            follow: Whether the language may change after the first decision.
            options: Times and thresholds.
        """
        self._candidates = candidates
        self._follow = follow
        self._options = options or TrackerOptions()
        self._frame_seconds = stride / sample_rate
        self._levels = FrameLevels(stride, sample_rate)
        self._stride = stride
        self.hop = self._frames(self._options.hop)
        self.lookback = self._frames(self._options.lookback)
        self._margin = self._frames(_MARGIN_SECONDS)
        self.position = 0
        """Frame up to which audio was taken."""
        self._speech = np.zeros(0, bool)
        """Flags of the last frames, at most `lookback`."""
        self._begin = 0
        """Frame from which the language may be decided."""
        self._onset = -1
        """Frame of the first speech while undecided; -1 for none."""
        self._looked = 0
        """Looks at the speech since its onset."""
        self._current = -1
        """Index of the current candidate; -1 while undecided."""
        self._odds: Scores = np.zeros(len(candidates.labels))
        """Sums of log-odds against the current candidate."""
        self._heard = 0
        """Frame up to which audio was classified."""
        self._confirmed = 0
        """Frame before which the current language is confirmed."""
        self._doubted = 0
        """First frame of the first window of those that contradict the current candidate."""
        self._next = -1
        """Candidate whose first frame is sought; -1 for none."""
        self._pause = -1
        """First frame of a pause before which the current language is sought; -1 for none."""
        self._low = self._high = 0
        """Frames between which the next language begins."""
        self._probability = 0.0
        self._windows: list[tuple[int, int]] = []
        self._is_new = False
        """Whether audio was added since the last look for a window."""

    def _frames(self, seconds: float) -> int:
        return round(seconds / self._frame_seconds)

    @property
    def due(self) -> int:
        """Position before which no window is due: a multiple of the hop from here."""
        if self._next >= 0 or self._current < 0:
            return self.position + self.hop
        if not self._follow:
            return _NEVER
        options = self._options
        passes = (options.alert,) if self._odds.max() > 0 else (options.interval, options.spacing)
        hops = max(1, -(-(self._heard + self._frames(min(passes)) - self.position) // self.hop))
        return self.position + hops * self.hop

    @property
    def settled(self) -> int:
        """Frame before which no later decision applies."""
        return self._confirmed if self._follow else _NEVER

    @property
    def unused(self) -> int:
        """Frame before which no speech waits for a language."""
        if self._current >= 0:
            return self.position - self.lookback
        return (self.position if self._onset < 0 else self._onset) - self._margin

    def begin(self, frame: int) -> None:
        """Begin at a frame; see `LanguageTracker.begin`."""
        self._begin = frame
        if self._current < 0 and self._onset < frame:
            self._onset = -1

    def add(self, samples: Float32Array) -> None:
        """Take the next frames; see `LanguageTracker.add`."""
        count = len(samples) // self._stride
        self._levels.add(samples)
        self._levels.keep(self.lookback)
        flags = self._levels.speech()[-count:]
        self._speech = np.concatenate([self._speech, flags])[-self.lookback :]
        self.position += count
        self._is_new = True
        if self._current < 0 and self._onset < 0 and flags.any():
            self._onset = self.position - count + int(flags.argmax())
            self._looked = 0

    def _flags(self, start: int, end: int) -> "np.typing.NDArray[np.bool_]":
        """Return whether each of frames `[start, end)` is speech."""
        first = self.position - len(self._speech)
        return self._speech[max(0, start - first) : max(0, end - first)]

    def windows(self, *, ended: bool) -> Sequence[tuple[int, int]]:
        """Return the windows to classify now; see `LanguageTracker.windows`."""
        if not self._windows:
            if self._next >= 0:
                self._windows = [self._middle()]
            elif self._current < 0:
                self._windows = self._first(ended=ended)
            elif self._follow and self._is_new:
                self._is_new = False
                self._windows = self._listen()
        return self._windows

    def _first(self, *, ended: bool) -> list[tuple[int, int]]:
        """Return the window of an undecided stream."""
        if self._onset < 0:
            return []
        options = self._options
        passed = self.position - self._onset
        is_due = passed >= self._frames(options.looks[self._looked])
        if not (is_due or ended):
            return []
        spoken = int(self._flags(self._onset, self.position).sum())
        is_last = self._looked + 1 == len(options.looks)
        if spoken < (_LEAST_FRAMES if ended else self._frames(options.least_speech)):
            self._looked += 1
            if is_last:
                self._onset = -1
            return []
        if ended:
            self._looked = len(options.looks) - 1
        return [(self._start, self.position)]

    @property
    def _start(self) -> int:
        """Frame from which the first speech is classified and recognised."""
        return max(self._begin, self._onset - self._margin, 0)

    def _listen(self) -> list[tuple[int, int]]:
        """Return the window of a decided stream, if one is due.

        It begins at the last pause, where the language may have changed, if that leaves enough.
        """
        options = self._options
        heard = self._flags(self._heard, self.position)
        spoken = int(heard.sum())
        resumed = self._resumed()
        after = int(self._flags(max(resumed, self._heard), self.position).sum())
        is_due = spoken >= self._frames(options.interval)
        if self._odds.max() > 0:
            is_due = is_due or spoken >= self._frames(options.alert)
        elif resumed > self._heard and len(heard) >= self._frames(options.spacing):
            is_due = is_due or after >= self._frames(options.after_pause)
        if not is_due:
            return []
        start = max(0, self.position - self._frames(options.window))
        if self.position - resumed >= self._frames(options.after_pause):
            start = max(start, resumed - 3)
        enough = int(self._flags(start, self.position).sum()) >= (self.position - start) // 3
        return [(start, self.position)] if enough else []

    def _resumed(self) -> int:
        """Return the frame at which speech resumed after the last pause; the first without one."""
        pauses = self._pauses()
        return int(pauses[-1, 1]) if len(pauses) else self.position - len(self._speech)

    def _pauses(self) -> "np.typing.NDArray[np.int64]":
        """Return the first frame of each pause that is kept, and the one behind it, `[N, 2]`."""
        edges = np.flatnonzero(
            np.diff(np.concatenate([[True], self._speech, [True]]).astype(np.int8))
        )
        runs = edges.reshape(-1, 2)
        pauses = runs[runs[:, 1] - runs[:, 0] >= self._frames(self._options.pause)]
        return self.position - len(self._speech) + pauses

    def take(self, logits: Sequence[Float32Array]) -> LanguageDecision | None:
        """Take logits; see `LanguageTracker.take`."""
        ((start, end),) = self._windows
        self._windows = []
        scores = self._candidates.log_probabilities(logits[0])
        if self._next >= 0:
            return self._bisect(scores, start, end)
        if self._current < 0:
            return self._decide(scores)
        self._heard = end
        if not self._odds.any():
            self._doubted = start
        odds = np.clip(scores - scores[self._current], -self._options.most, self._options.most)
        self._odds = np.maximum(0.0, self._odds + odds)
        self._odds[self._current] = 0.0
        best = int(self._odds.argmax())
        if self._odds[best] < self._options.switch:
            if self._odds[best] == 0:
                self._confirmed = max(self._confirmed, end - self._frames(0.5))
            return None
        self._next, self._probability = best, float(np.exp(scores[best]))
        self._low = max(self._confirmed, self._begin, self.position - self.lookback)
        self._high = max(self._low, end - self._frames(0.5))
        self._pause = self._last_pause(self._doubted + _LEAST_FRAMES)
        if 0 <= self._pause < self._low + self._frames(_PROBED_SECONDS):
            self._low = self._high = self._pause
        return self._found() if self._is_found() else None

    def _last_pause(self, end: int) -> int:
        """Return the first frame of the last pause that is over at a frame; -1 for none."""
        pauses = self._pauses()
        over = pauses[(pauses[:, 0] > self._low) & (pauses[:, 1] <= end)]
        return int(over[-1, 0]) if len(over) else -1

    def _decide(self, scores: Scores) -> LanguageDecision | None:
        order = np.argsort(-scores, kind="stable")
        odds = float(scores[order[0]] - scores[order[1]]) if len(scores) > 1 else np.inf
        self._looked += 1
        if odds < self._options.sure and self._looked < len(self._options.looks):
            return None
        return self._change(int(order[0]), self._start, float(np.exp(scores[order[0]])))

    def _change(self, candidate: int, frame: int, probability: float) -> LanguageDecision:
        self._current, self._onset, self._next, self._pause = candidate, -1, -1, -1
        self._odds[:] = 0
        self._heard = self.position
        self._confirmed = frame
        label, code = self._candidates.labels[candidate], self._candidates.codes[candidate]
        return LanguageDecision(label, code, round(probability, 4), frame)

    def _is_found(self) -> bool:
        return self._high - self._low <= self._frames(self._options.border)

    def _middle(self) -> tuple[int, int]:
        """Return a window around the middle of the frames where the next language may begin.

        The first one ends at the pause.
        """
        if self._pause >= 0:
            return max(self._pause - self._frames(self._options.window), self._low), self._pause
        half = self._frames(self._options.window) // 2
        middle = (self._low + self._high) // 2
        end = min(middle + half, self.position)
        return max(0, self.position - self.lookback, end - 2 * half), end

    def _bisect(self, scores: Scores, start: int, end: int) -> LanguageDecision | None:
        is_next = scores[self._next] > scores[self._current]
        pause, self._pause = self._pause, -1
        middle = min(max((start + end) // 2, self._low + 1), self._high - 1)
        if is_next:
            self._high = middle
        elif pause < 0:
            self._low = middle
        else:
            self._low = self._high = pause
        return self._found() if self._is_found() else None

    def _found(self) -> LanguageDecision:
        first = self.position - len(self._speech)
        border = (self._low + self._high) // 2
        earliest = max(self._confirmed, self._begin, first)
        distance = self._frames(self._options.border)
        place = snap(border - first, earliest - first, self._speech, distance, self._frames(0.1))
        return self._change(self._next, min(first + place, self.position), self._probability)

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        names = self._STATE
        state = {name: getattr(self, name) for name in names}
        return {
            **state,
            "levels": self._levels.state(),
            "speech": self._speech,
            "odds": self._odds,
            "labels": list(self._candidates.labels),
        }

    _STATE = (
        *("position", "_begin", "_onset", "_looked", "_current", "_heard", "_confirmed"),
        *("_doubted", "_next", "_pause", "_low", "_high", "_probability"),
    )
    """Attributes that are numbers."""

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: it is of other languages to choose from.
        """
        if state["labels"] != list(self._candidates.labels):
            raise ValueError(f"the languages to choose from were {', '.join(state['labels'])}")
        for name in self._STATE:
            setattr(self, name, state[name])
        self._levels.restore(state["levels"])
        self._speech, self._odds = state["speech"], state["odds"]
        self._windows, self._is_new = [], True
