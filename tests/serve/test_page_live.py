"""Live captions of the page in Chromium, from a microphone that hears clips of the demo."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from browser import STREAM, microphone, open_page, write_sound
from engine_demo import Clip
from mms_engine import read_audio
from mms_engine.formats import render
from mms_engine.types import Transcript, Word
from mms_export.cli import main as mms_export
from server_process import ServerProcess, running

MMS = [sys.executable, "-c", "from mms_engine.cli import main; main()"]
WATCH = """
window.first = 0;  // time at which the first word was shown, and another behind it
window.streams = [];  // of each connection, the time at which its audio began, and its audio
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (typeof data !== "string") {
    // A block is sent when it is complete.
    if (!this.audio) streams.push({ begin: performance.now() - data.length / 16, blocks: [] });
    this.audio ??= streams.at(-1).blocks;
    this.audio.push(...data);
  }
  return send.call(this, data);
};
document.addEventListener("DOMContentLoaded", () =>
  new MutationObserver(() => {
    const text = document.querySelector("#live-partial .text")?.textContent ?? "";
    if (text.trim().includes(" ")) window.first ||= performance.now();
  }).observe(document.getElementById("live-partial"), { childList: true }),
);
"""


@pytest.fixture(scope="module")
def lid_demo(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("lid") / "demo"
    mms_export(["--model", "demo-lid", "--out", str(out), "--quiet"], standalone_mode=False)
    return out


@pytest.fixture(scope="module")
def server(demo_bundle, lid_demo) -> Iterator[ServerProcess]:
    """A server with the identification of the demo."""
    with running("--bundle", demo_bundle, "--bundle", lid_demo, "--no-admission") as started:
        yield started


@pytest.fixture(scope="module")
def sound(clip: Clip, tmp_path_factory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound") / "clip.wav", read_audio(clip.path).samples)


def begin(page, language: str) -> None:
    page.click("#live-language")
    page.keyboard.type(language)
    page.keyboard.press("Enter")
    page.click("#live-start")


def end(page) -> None:
    page.click("#live-start")
    page.get_by_text("Not listening").wait_for()


def finals(page) -> list[str]:
    return page.locator("#live-finals .text").all_text_contents()


def commands_finals(samples: list[int], bundle: Path) -> list[str]:
    """Return the utterances that `mms stream` prints."""
    command = [*MMS, "stream", "-", "--lang", "eng", "--bundle", str(bundle), "--json"]
    pcm = np.array(samples, np.int16).tobytes()
    found = subprocess.run(command, input=pcm, capture_output=True, check=True)
    events = map(json.loads, found.stdout.splitlines())
    return [event["text"] for event in events if event["type"] == "final" and event["text"]]


def test_captions_are_those_of_the_command(
    playwright, server, sound, clip, demo_bundle, recognizer
) -> None:
    with (
        microphone(playwright, sound) as browser,
        open_page(browser, server.url, go=False) as (page, errors),
    ):
        page.add_init_script(WATCH)
        page.goto(server.url)
        page.wait_for_selector("#live-language:enabled")
        begin(page, "eng")
        page.wait_for_selector("#live-finals .said")
        end(page)
        [stream] = page.evaluate("streams")
        assert finals(page) == commands_finals(stream["blocks"], demo_bundle)
        assert "your part" in finals(page)[0]
        assert re.fullmatch(r"\d\.\d\d s", page.inner_text("#live-lag"))
        assert page.is_hidden("#live-partial .said")
        said = recognizer.transcribe(clip.path, "eng").words[0].end
        delay = (page.evaluate("window.first") - stream["begin"]) / 1000 - said
        assert 0 < delay <= 1.0
        errors.check()


def test_identified_language_is_a_badge(playwright, server, clips, tmp_path) -> None:
    clip = next(one for one in clips if one.path.name == "fra_vm-login.flac")
    samples = read_audio(clip.path).samples
    sound = write_sound(tmp_path / "french.wav", np.concatenate([samples, samples, samples]))
    with (
        microphone(playwright, sound) as browser,
        open_page(browser, server.url) as (page, errors),
    ):
        page.click("#live-start")
        page.wait_for_selector("#live-badge:visible")
        page.wait_for_selector("#live-finals .said")
        end(page)
        assert page.inner_text("#live-badge").startswith("French")
        assert page.locator("#live-finals .text").last.get_attribute("lang") == "fr"
        errors.check()


def test_session_is_saved(playwright, server, sound, demo_bundle) -> None:
    """A second recording goes on where the first ended."""
    with (
        microphone(playwright, sound, repeat=True) as browser,
        open_page(browser, server.url) as (page, errors),
    ):
        for _ in range(2):
            begin(page, "eng")
            page.wait_for_selector("#live-partial .said")
            end(page)
        texts = finals(page)
        files = {}
        for label in ("TXT", "SRT", "VTT", "TextGrid"):
            with page.expect_download() as waiting:
                page.locator("#live-downloads").get_by_role("button", name=label).click()
            files[label] = Path(waiting.value.path()).read_text("utf-8")
            pattern = rf"captions-\d{{4}}(-\d\d){{4}}\.{label}"
            assert re.fullmatch(pattern, waiting.value.suggested_filename, re.IGNORECASE)
        page.click("#live-clear")
        assert finals(page) == []
        page.get_by_role("button", name="Undo").click()
        assert finals(page) == texts
        errors.check()
    assert len(texts) >= 2
    assert files["TXT"] == "".join(f"{text}\n" for text in texts)
    rows = re.findall(r'xmin = (\S+)\n +xmax = (\S+)\n +text = "(.+)"', files["TextGrid"])
    words = tuple(Word(text, float(start), float(end), 1.0) for start, end, text in rows)
    assert [word.text for word in words] == " ".join(texts).split()
    assert [one.start for one in words] == sorted(one.start for one in words)
    transcript = Transcript(" ".join(texts), "eng", words, words[-1].end, 1.0)
    assert files["SRT"] == render(transcript, "", format_name="srt")
    assert files["VTT"] == render(transcript, "", format_name="vtt")


class Proxy:
    """A TCP proxy whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target = port
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for one in (source, sink):
            one.close()

    def cut(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_lost_connection_loses_no_word(playwright, server, sound, demo_bundle) -> None:
    proxy = Proxy(server.port)
    try:
        with (
            microphone(playwright, sound) as browser,
            open_page(browser, f"http://127.0.0.1:{proxy.port}", go=False) as (page, _),
        ):
            page.add_init_script(WATCH)
            page.goto(f"http://127.0.0.1:{proxy.port}")
            page.wait_for_selector("#live-language:enabled")
            begin(page, "eng")
            page.wait_for_selector("#live-partial .said")
            proxy.cut()
            page.get_by_text("Connecting again").wait_for()
            page.get_by_text("Listening", exact=True).wait_for()
            page.wait_for_selector("#live-finals .said")
            end(page)
            before, after = (one["blocks"] for one in page.evaluate("streams"))
            assert after[: len(before)] == before
            assert finals(page) == commands_finals(after, demo_bundle)
            assert page.is_hidden("#live-notice")
    finally:
        proxy.close()


def test_server_that_dies_is_told(playwright, demo_bundle, sound) -> None:
    with (
        running("--bundle", demo_bundle, "--no-admission") as server,
        microphone(playwright, sound) as browser,
        open_page(browser, server.url) as (page, _),
    ):
        begin(page, "eng")
        page.wait_for_selector("#live-partial .said")
        server.process.kill()
        page.get_by_text("The server cannot be reached.").wait_for()
        assert page.inner_text("#live-state") == "Not listening"
        page.get_by_role("button", name="Start again").wait_for()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-streams", 1), "streams"),
        (("--max-client-streams", 1), "streams"),
    ],
)
def test_refused_stream_says_why(playwright, demo_bundle, options, message) -> None:
    with (
        running("--bundle", demo_bundle, "--no-admission", *options) as server,
        microphone(playwright) as browser,
        open_page(browser, server.url) as (first, _),
        open_page(browser, server.url) as (second, errors),
    ):
        begin(first, "eng")
        first.get_by_text("Listening", exact=True).wait_for()
        begin(second, "eng")
        second.locator("#live-notice p").wait_for()
        assert message in second.inner_text("#live-notice")
        end(first)
        second.get_by_role("button", name="Start again").click()
        second.get_by_text("Listening", exact=True).wait_for()
        end(second)
        errors.check()


def test_key_goes_with_the_stream(playwright, demo_bundle, sound) -> None:
    with (
        running("--bundle", demo_bundle, "--no-admission", env={"MMS_API_KEY": "mms-a"}) as server,
        microphone(playwright, sound) as browser,
        open_page(browser, server.url, wait=False) as (page, errors),
    ):
        page.get_by_label("Key", exact=True).fill("mms-a")
        page.keyboard.press("Enter")
        page.wait_for_selector("#live-language:enabled")
        page.evaluate("sessionStorage.setItem('key', 'mms-b')")
        begin(page, "eng")
        page.get_by_label("Key", exact=True).fill("mms-a")
        page.keyboard.press("Enter")
        page.wait_for_selector("#live-finals .said")
        end(page)
        assert errors.take("401 (Unauthorized)") == 1
        errors.check()


def test_scripts_of_any_direction(playwright, server) -> None:
    """Events with texts that the demo's model cannot hear."""
    opened = {"type": "session", "id": "s", "model": "demo", "language": "ara", "warnings": []}
    words = [{"text": "مرحبا", "start": 0.5, "end": 0.9, "confidence": 0.95}]
    final = {"type": "final", "text": "مرحبا", "words": words, "start": 0.2, "language": "ara"}
    tail = {"type": "partial", "text": "𞤀𞤁 𞤂𞤃", "words": [], "stable_chars": 3}

    def answer(route) -> None:
        for event in (opened, final, tail):
            route.send(json.dumps({"audio_seconds": 1.0, **event}))

    with (
        microphone(playwright) as browser,
        open_page(browser, server.url, go=False) as (page, errors),
    ):
        page.route_web_socket(STREAM, answer)
        page.goto(server.url)
        page.click("#live-start")
        page.wait_for_selector(".unstable")
        directions = "all => all.map(one => getComputedStyle(one).direction)"
        assert page.eval_on_selector_all("#live-captions .said", directions) == ["rtl", "rtl"]
        assert page.inner_text(".unstable") == "𞤂𞤃"  # five code points, eleven in JavaScript
        errors.check()
