"""Build progress: the library's nested phases as steps of one bar."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STEPS = 1000
"""Steps of a finished build."""


@dataclass(slots=True)
class _Phase:
    start: float
    """Position in the whole build, in [0, 1]."""
    width: float
    steps: int
    done: int = 0

    @property
    def reached(self) -> float:
        return self.start + self.width * self.done / self.steps


class Phases:
    """Nested phases as monotonic steps of one bar, under the names of `IProgressMonitor`.

    Each phase fills the step of its parent in which it began. Thread-safe.
    """

    def __init__(self, advance: Callable[[int], object]) -> None:
        self._advance = advance
        self._open: dict[str, _Phase] = {}
        self._shown = 0
        self._lock = threading.Lock()

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase."""
        with self._lock:
            outer = self._open.get(parent) if parent else None
            start, width = (outer.reached, outer.width / outer.steps) if outer else (0.0, 1.0)
            self._open[name] = _Phase(start, width, max(1, steps))

    def step_complete(self, name: str, index: int) -> bool:
        """Record that a phase's step, counted from 0, is finished; return true to go on."""
        with self._lock:
            phase = self._open.get(name)
            if phase:
                phase.done = min(index + 1, phase.steps)
                self._show(phase.reached)
        return True

    def phase_finish(self, name: str) -> None:
        """End a phase."""
        with self._lock:
            phase = self._open.pop(name, None)
            if phase:
                self._show(phase.start + phase.width)

    def _show(self, share: float) -> None:
        reached = min(STEPS, round(STEPS * share))
        if reached > self._shown:
            self._advance(reached - self._shown)
            self._shown = reached


def make_monitor(library: Any, advance: Callable[[int], object]) -> Any:  # noqa: ANN401
    """Return a progress monitor for the library that advances a bar of `STEPS` steps."""

    class Monitor(Phases, library.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            Phases.__init__(self, advance)

    return Monitor()
