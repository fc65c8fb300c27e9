"""Progress bars on stderr, shown only on a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Self

_FORM = "{n:.0f} s of audio in {elapsed}, {rate_noinv_fmt}"


class Bar:
    """Seconds of audio transcribed, and the rate."""

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
        """Add seconds of transcribed audio."""
        if self._bar is not None:
            self._bar.update(seconds)

    def paused(self) -> contextlib.AbstractContextManager[Any]:
        """Hide the bar while other output is written to the terminal."""
        if self._bar is None:
            return contextlib.nullcontext()
        mode: contextlib.AbstractContextManager[Any] = self._bar.external_write_mode()
        return mode


@contextlib.contextmanager
def byte_bar(description: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar over `total` bytes; the yielded function adds bytes."""
    from tqdm import tqdm

    with tqdm(
        total=total,
        unit="B",
        unit_scale=True,
        desc=description,
        leave=False,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
    ) as bar:
        yield bar.update
