"""The speech of the page in Chromium: played while it is made, dropped characters, and errors."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from browser import microphone, open_page
from mms_export.cli import main as mms_export
from server_process import ServerProcess, running

TEXT = "The number you have dialled is not in service."


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("voices") / "demo"
    mms_export(["--model", "demo-voice", "--out", str(out), "--quiet"], standalone_mode=False)
    return out


@pytest.fixture(scope="module")
def server(demo_bundle, voices) -> Iterator[ServerProcess]:
    with running("--bundle", demo_bundle, "--bundle", voices) as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright) -> Iterator:
    with microphone(playwright) as started:
        yield started


def speak(page, text: str) -> None:
    page.click("#tab-speech")
    page.fill("#speech-text", text)
    page.click("#speech-start")


def test_text_is_spoken_while_it_is_made(browser, server) -> None:
    with open_page(browser, server.url) as (page, errors):
        speak(page, TEXT)
        page.wait_for_selector("#speech-player:visible")
        assert page.inner_text("#speech-start") == "Stop"
        page.get_by_text("First sound after").wait_for()
        position = "() => document.querySelector('#speech-player canvas').ariaValueNow > 0.2"
        page.wait_for_function(position)
        page.wait_for_selector("#speech-below:visible")
        assert page.inner_text("#speech-start") == "Speak"
        with page.expect_download() as waiting:
            page.get_by_role("button", name="WAV").click()
        samples, rate = soundfile.read(waiting.value.path(), dtype="int16")
        pcm = page.evaluate(
            """async (input) => {
              const body = JSON.stringify({ input, response_format: "pcm", voice: "eng" });
              const headers = { "Content-Type": "application/json" };
              const answer = await fetch("v1/audio/speech", { method: "POST", headers, body });
              return [...new Int16Array(await answer.arrayBuffer())];
            }""",
            TEXT,
        )
        assert rate == 24_000
        np.testing.assert_array_equal(samples, np.array(pcm, np.int16))
        errors.check()


def test_made_speech_is_played_again(browser, server) -> None:
    with open_page(browser, server.url) as (page, errors):
        speak(page, "yes")
        page.wait_for_selector("#speech-below:visible")
        page.locator("#speech-player").get_by_role("button", name="Play").click()
        page.locator("#speech-player").get_by_role("button", name="Pause").wait_for()
        page.locator("#speech-player").get_by_role("button", name="Play").wait_for()
        errors.check()


def test_speech_is_stopped(browser, server) -> None:
    with open_page(browser, server.url) as (page, errors):
        speak(page, TEXT * 20)
        page.wait_for_selector("#speech-player:visible")
        page.click("#speech-start")
        page.get_by_text("Stopped").wait_for()
        server.wait_metric("mms_requests_running", 0)
        errors.check()


def test_dropped_characters_are_told(browser, server) -> None:
    with open_page(browser, server.url) as (page, errors):
        speak(page, "yes 中 no")
        page.get_by_text("1 character has no sound in this voice").wait_for()
        assert page.inner_text("#speech-notice").endswith("中")
        errors.check()


def test_error_of_the_text_is_told(browser, server) -> None:
    with open_page(browser, server.url) as (page, errors):
        speak(page, "中")
        page.locator("#speech-notice p").wait_for()
        assert "中" in page.inner_text("#speech-notice")
        assert page.inner_text("#speech-start") == "Speak"
        assert errors.take("400 (Bad Request)") == 1
        errors.check()


def test_speed_changes_the_speech(browser, server) -> None:
    durations = []
    with open_page(browser, server.url) as (page, errors):
        for speed in ("0.8", "1.6"):
            page.locator("#speech-speed").fill(speed, force=True)
            speak(page, TEXT)
            page.wait_for_selector("#speech-below:visible")
            with page.expect_download() as waiting:
                page.get_by_role("button", name="WAV").click()
            content = Path(waiting.value.path()).read_bytes()
            durations.append(soundfile.info(io.BytesIO(content)).duration)
        errors.check()
    assert 1.6 < durations[0] / durations[1] < 2.4


def test_server_without_recognition_has_speech_alone(browser, voices) -> None:
    with (
        running("--bundle", voices) as server,
        open_page(browser, server.url, wait=False) as (page, errors),
    ):
        page.wait_for_selector("#speech-voice:visible")
        assert page.locator("[role=tab]:visible").all_inner_texts() == ["Speech"]
        assert errors.take("404 (Not Found)") == 1
        errors.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_inaccessible(browser, server, scheme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with open_page(browser, server.url, color_scheme=scheme) as (page, errors):
        speak(page, "yes 中 no")
        page.wait_for_selector("#speech-below:visible")
        found = axe.run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        errors.check()
