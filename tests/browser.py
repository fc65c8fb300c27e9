"""Chromium for the tests of the page, with a microphone that hears a file."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

STREAM = "**/v1/stream*"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--no-sandbox", "--autoplay-policy=no-user-gesture-required")
_REPORTS = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.reports.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def chromium_path() -> str:
    """Return the path of Chromium; skip the test without it, or fail if a browser is required."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        missing = f"no browser: none of {', '.join(_NAMES)} is installed"
        if os.environ.get("MMS_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextlib.contextmanager
def chromium(playwright, *flags: str) -> Iterator:
    """Yield a running browser."""
    browser = playwright.chromium.launch(executable_path=chromium_path(), args=[*_FLAGS, *flags])
    try:
        yield browser
    finally:
        browser.close()


@contextlib.contextmanager
def microphone(playwright, sound: Path | None = None, *, repeat: bool = False) -> Iterator:
    """Yield a browser whose microphone hears a WAV file, once or repeated, or beeps."""
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    if sound is not None:
        flags.append(f"--use-file-for-fake-audio-capture={sound}{'' if repeat else '%noloop'}")
    with chromium(playwright, *flags) as browser:
        yield browser


class Errors:
    """Faults of a page: errors on its console, in its scripts, and against its policy."""

    def __init__(self, page) -> None:
        self._page = page
        self.console: list[str] = []
        page.on("console", self._add)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.add_init_script(_REPORTS)

    def _add(self, message) -> None:
        if message.type in ("error", "warning"):
            self.console.append(message.text)

    def take(self, text: str) -> int:
        """Remove the errors with a text, which are expected; return their number."""
        rest = [one for one in self.console if text not in one]
        taken = len(self.console) - len(rest)
        self.console[:] = rest
        return taken

    def check(self) -> None:
        assert not self.console, self.console
        reports = self._page.evaluate("window.reports")
        assert not reports, reports


@contextlib.contextmanager
def open_page(
    browser, url: str, *, wait: bool = True, go: bool = True, **options: object
) -> Iterator[tuple]:
    """Yield a new page and its errors.

    Args:
        browser: Browser.
        url: Address of the server.
        wait: Whether to wait until the page is ready for use.
        go: Whether to load the page at all.
        options: Those of the browser's context.
    """
    context = browser.new_context(**{"permissions": ["microphone"], **options})
    context.set_default_timeout(20_000)
    try:
        page = context.new_page()
        errors = Errors(page)
        if go:
            page.goto(url)
        if go and wait:
            page.wait_for_selector("#live-language:enabled")
        yield page, errors
    finally:
        context.close()


def write_sound(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Write a WAV file with a second of silence at its end: the last sound would go on."""
    silence = np.zeros(rate, np.float32)
    soundfile.write(path, np.concatenate([samples, silence]), rate, subtype="PCM_16")
    return path
