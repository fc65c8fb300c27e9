"""Progress of an export on stderr: bars on a terminal, otherwise one line per step."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm


class Reporter:
    """Progress display; a quiet one shows warnings only."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def warn(self, sentence: str) -> None:
        """Print a warning as one line, also when quiet."""
        tqdm.write(f"Warning: {' '.join(sentence.split())}", file=sys.stderr)

    @contextlib.contextmanager
    def step(
        self, label: str, total: int = 0, unit: str = "B"
    ) -> Iterator[Callable[[int], object]]:
        """Show one step, and yield its progress callback.

        Args:
            label: Description of the step.
            total: Amount of work; 0 if unknown.
            unit: Unit of `total`; bytes are shown with prefixes.
        """
        if self._quiet:
            yield lambda _: None
            return
        terminal = sys.stderr.isatty()
        if not terminal:
            sys.stderr.write(f"{label}\n")
        scale = {"unit_scale": True, "unit_divisor": 1000} if unit == "B" else {}
        bar_format = None if total else "{desc} [{elapsed}]"
        with tqdm(
            desc=label,
            total=total or None,
            unit=unit,
            disable=not terminal,
            dynamic_ncols=True,
            bar_format=bar_format,
            **scale,
        ) as bar:
            yield bar.update
