"""Tells the user how far an export is: bars on a terminal, a line for each step elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm

Advance = Callable[[int], object]


class Reporter:
    """Reports to stderr; a quiet one reports nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    @contextlib.contextmanager
    def step(self, label: str, total: int = 0, unit: str = "B") -> Iterator[Advance]:
        """Report one step, and yield what tells how much of it is done.

        Args:
            label: What the step does.
            total: How much there is to do; 0 where that is not known.
            unit: Of `total`; bytes are shown with prefixes.
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
