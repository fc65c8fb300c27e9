"""Progress bars on stderr, shown only on a terminal."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from mms_engine.system import printable

_Opened = TypeVar("_Opened")
_BAR_SECONDS = 1.0
"""Seconds of opening after which a bar is shown."""
_BAR_INTERVAL = 0.1

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


def open_with_bar(bundle: Path, open_bundle: Callable[[], _Opened]) -> _Opened:
    """Return what a function opens, with a bar once that takes longer than a second.

    Args:
        bundle: Folder of the bundle, whose name the bar shows.
        open_bundle: Function that opens it.
    """
    if not sys.stderr.isatty():
        return open_bundle()
    from mms_engine.bundle.verification import opening_progress

    counts, ended = (0, 0), threading.Event()

    def changed(done: int, total: int) -> None:
        nonlocal counts
        counts = done, total

    def show() -> None:
        if ended.wait(_BAR_SECONDS):
            return
        with byte_bar(f"opening {printable(bundle.name)}", 0) as bar:
            while not ended.wait(_BAR_INTERVAL):
                bar.n, bar.total = counts
                bar.refresh()

    shower = threading.Thread(target=show, daemon=True)
    shower.start()
    try:
        with opening_progress(changed):
            return open_bundle()
    finally:
        ended.set()
        shower.join()


@contextlib.contextmanager
def byte_bar(description: str, total: int) -> Iterator[Any]:
    """Show a bar over `total` bytes, and yield it: a `tqdm`, whose `update` adds bytes."""
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
        yield bar
