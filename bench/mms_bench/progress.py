"""Progress on stderr: one line that is rewritten on a terminal, few lines elsewhere."""

import time
from typing import TextIO

_SELDOM = 15.0


class Progress:
    """Takes lines of progress and shows them with the time since the start."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start = time.monotonic()
        self._last = -_SELDOM
        self._terminal = stream.isatty()

    def __call__(self, line: str) -> None:
        """Show a line; in a log, rounds of the same measurement are shown seldom."""
        now = time.monotonic()
        text = f"{now - self._start:7.1f} s  {line}"
        if self._terminal:
            end = "\n" if line.startswith("warning") else ""
            self._stream.write(f"\r\x1b[K{text[:110]}{end}")
        elif not line.startswith("round ") or now - self._last >= _SELDOM:
            self._last = now
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the terminal's line empty."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
