"""A progress bar on stderr that is there only on a terminal, and steps aside for output."""

import contextlib
import sys
from typing import Any, Self

_FORM = "{n:.0f} s of audio in {elapsed}, {rate_noinv_fmt}"


class Bar:
    """Shows how many seconds of audio are done, and how many in a second."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="s", bar_format=_FORM, leave=False, file=sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, seconds: float) -> None:
        """Count audio that is done."""
        if self._bar is not None:
            self._bar.update(seconds)

    def paused(self) -> contextlib.AbstractContextManager[Any]:
        """Take the bar off the terminal while something else is written there."""
        if self._bar is None:
            return contextlib.nullcontext()
        mode: contextlib.AbstractContextManager[Any] = self._bar.external_write_mode()
        return mode
