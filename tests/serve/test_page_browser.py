"""The page in Chromium: recordings, the picker, states, looks and accessibility."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import chromium, microphone, open_page
from engine_demo import Clip
from mms_engine import Recognizer
from mms_engine.formats import render
from mms_engine.languages import all_languages
from mms_engine.types import Transcript, Word
from server_process import BOUNDARY, ServerProcess, form_bytes, running

DROP = """
([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  const options = { dataTransfer, bubbles: true, cancelable: true };
  document.getElementById("file-drop").dispatchEvent(new DragEvent("drop", options));
}
"""


@pytest.fixture(scope="module")
def browser(playwright) -> Iterator:
    with microphone(playwright) as started:
        yield started


@pytest.fixture
def page(browser, server: ServerProcess) -> Iterator:
    """A page that must end without an error."""
    with open_page(browser, server.url) as (page, errors):
        yield page
        errors.check()


def options_of(page) -> list[str]:
    return page.locator("#live-language-list [role=option] .label").all_text_contents()


def transcribe(page, path: Path) -> None:
    page.click("#tab-file")
    page.set_input_files("#file-input", str(path))
    page.wait_for_selector("#file-words [data-index]")


def downloaded(page, panel: str, label: str) -> str:
    with page.expect_download() as waiting:
        page.locator(f"#{panel}-downloads").get_by_role("button", name=label, exact=True).click()
    return Path(waiting.value.path()).read_text("utf-8")


def answer_of(server: ServerProcess, clip: Clip, format_name: str) -> str:
    """Return the server's own file of a format."""
    body = form_bytes(clip.path.read_bytes(), language="eng", response_format=format_name)
    body = body.replace(b"clip.flac", clip.path.name.encode())
    request = urllib.request.Request(f"{server.url}/v1/audio/transcriptions", body)  # noqa: S310
    request.add_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return response.read().decode()


def choose(page, field: str, text: str) -> None:
    page.click(f"#{field}")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_recording_is_transcribed(page, clip: Clip, recognizer: Recognizer) -> None:
    choose(page, "live-language", "eng")
    page.click("#tab-file")
    assert page.input_value("#file-language") == "English"
    page.evaluate(DROP, [base64.b64encode(clip.path.read_bytes()).decode(), clip.path.name])
    page.wait_for_selector("#file-words [data-index]")
    wanted = recognizer.transcribe(clip.path, "eng")
    assert page.locator("#file-words .text").all_inner_texts() == [wanted.text]
    assert page.inner_text("#file-badge") == "English"
    assert page.inner_text("#file-state").startswith(f"{len(wanted.words)} words in 2.8 s")


def test_words_are_played_and_highlighted(page, clip: Clip, recognizer: Recognizer) -> None:
    transcribe(page, clip.path)
    words = page.locator("#file-words [data-index]")
    last = words.nth(words.count() - 1)
    start = recognizer.transcribe(clip.path, "eng").words[-1].start
    last.click()
    page.wait_for_selector("#file-words [data-index].current")
    assert page.locator("#file-words .current").inner_text() == last.inner_text()
    slider = page.get_by_role("slider", name="Position in the recording")
    position = float(slider.get_attribute("aria-valuenow"))  # in tenths of a second
    assert round(start, 1) <= position < start + 1
    page.keyboard.press("ArrowLeft")
    words.nth(words.count() - 2).and_(page.locator(":focus")).wait_for()
    slider.press("Home")
    page.wait_for_function("() => document.querySelector('canvas').ariaValueNow < 1")


@pytest.mark.parametrize(
    ("label", "format_name"),
    [
        ("TXT", "text"),
        ("SRT", "srt"),
        ("VTT", "vtt"),
        ("TextGrid", "textgrid"),
        ("CTM", "ctm"),
        ("JSON", "verbose_json"),
    ],
)
def test_downloads_are_the_files_of_the_server(page, server, clip, label, format_name) -> None:
    choose(page, "live-language", "eng")
    transcribe(page, clip.path)
    found, wanted = downloaded(page, "file", label), answer_of(server, clip, format_name)
    if format_name == "verbose_json":
        known = json.loads(wanted)
        assert {name: json.loads(found)[name] for name in known} == known
    else:
        assert found == wanted.replace("2.800625", "2.801")  # the duration of verbose_json


def test_cues_and_lines_are_those_of_the_server(page) -> None:
    """For texts that the demo's clips are too short for."""
    texts = ["a" * 50, *("word" for _ in range(40)), 'say "no" & <go>', "x"]
    words, now = [], 0.0
    for place, text in enumerate(texts):
        now += 0.9 if place % 17 == 16 else 0.02
        end = now if place == 20 else now + 0.3
        words.append(Word(text.replace(" ", "_"), round(now, 2), round(end, 2), 0.5))
        now = end
    for joiner in (" ", ""):
        text = joiner.join(word.text for word in words)
        transcript = Transcript(text, "eng", tuple(words), 20.0, 0.5)
        given = [[one.text, one.start, one.end, one.confidence] for one in words]
        for format_name, call in (
            ("srt", "f.srt(words, joiner)"),
            ("vtt", "f.vtt(words, joiner)"),
            ("textgrid", "f.textgrid(words, joiner, 20)"),
            ("ctm", "f.ctm(words, 'a clip')"),
        ):
            found = page.evaluate(
                f"""async ([given, joiner]) => {{
                  const f = await import("/page/formats.js");
                  const names = ["text", "start", "end", "confidence"];
                  const words = given.map((one) =>
                    Object.fromEntries(one.map((value, i) => [names[i], value])));
                  return {call};
                }}""",
                [given, joiner],
            )
            assert found == render(transcript, "a clip", format_name=format_name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("русс", ["Russian"]),  # native name
        ("ESPANOL", ["Spanish"]),  # without accents
        ("fr", ["French"]),  # code of two letters
        ("ita", ["Italian"]),  # of three
        ("russia", ["Russian"]),  # country
        ("detect", ["Identify automatically"]),
        ("xyzzy", []),
    ],
)
def test_picker_finds_languages(page, text, found) -> None:
    page.click("#live-language")
    everything = options_of(page)
    assert everything[0] == "Identify automatically"
    assert everything[1:] == ["English", "French", "Italian", "Russian", "Spanish"]
    page.keyboard.type(text)
    assert options_of(page)[: len(found)] == found
    if not found:
        assert "Nothing matches" in page.inner_text("#live-language-list")


def test_picker_is_used_by_keyboard(page) -> None:
    field = page.locator("#live-language")
    field.focus()
    field.press("ArrowDown")
    assert field.get_attribute("aria-expanded") == "true"
    field.press("ArrowDown")
    active = page.locator(f"#{field.get_attribute('aria-activedescendant')}")
    assert active.locator(".label").inner_text() == "English"
    field.press("Escape")
    assert field.input_value() == "Identify automatically"
    assert field.get_attribute("aria-expanded") == "false"
    choose(page, "live-language", "spa")
    assert field.input_value() == "Spanish"
    page.reload()
    page.wait_for_selector("#live-language:enabled")
    assert field.input_value() == "Spanish"


def test_picker_has_every_language_of_mms(browser, server) -> None:
    rows = [
        {
            "code": one.code,
            "name": one.name,
            "native": one.native,
            "iso639_1": one.iso1,
            "iso639_3": one.iso,
            "bcp47": one.tag,
            "script": one.writing,
            "country": one.country,
        }
        for one in all_languages("asr")
    ]
    body = {"data": rows, "tasks": []}
    with open_page(browser, server.url, wait=False, go=False) as (page, errors):
        page.route("**/v1/languages", lambda route: route.fulfill(json=body))
        page.goto(server.url)
        page.wait_for_selector("#live-language:enabled")
        page.click("#live-language")
        assert len(options_of(page)) == len(rows) > 1100
        page.keyboard.type("uzb")
        assert options_of(page)[:2] == ["Uzbek (Cyrillic)", "Uzbek (Latin)"]
        errors.check()


def test_tabs_are_used_by_keyboard(page) -> None:
    page.focus("#tab-live")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#file")
    assert page.is_hidden("#live")
    assert page.evaluate("document.activeElement.id") == "tab-file"
    assert page.url.endswith("#file")
    page.reload()
    page.wait_for_selector("#file:visible")


def test_theme_is_kept(page) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    for name in ("light", "dark"):
        page.click("#theme")
        assert page.get_attribute("#theme", "aria-label") == f"Theme: {name}"
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_errors_of_files_are_told(browser, server, tmp_path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "notes.wav").write_text("no audio")
    with open_page(browser, server.url) as (page, errors):
        page.click("#tab-file")
        page.set_input_files("#file-input", str(tmp_path / "empty.wav"))
        page.get_by_text("empty.wav is empty.").wait_for()
        page.set_input_files("#file-input", str(tmp_path / "notes.wav"))
        page.locator("#file-notice p").wait_for()
        assert "The file is not a readable audio file" in page.inner_text("#file-notice")
        assert page.inner_text("#file-about").endswith("this browser cannot play it")
        assert errors.take("400 (Bad Request)") == 1
        errors.check()


def test_server_that_loads_is_waited_for(browser, demo_bundle) -> None:
    server = ServerProcess("--bundle", demo_bundle)
    try:
        with open_page(browser, server.url) as (page, errors):
            assert options_of(page) == []
            assert page.is_hidden("#server-notice")
            errors.take("503 (Service Unavailable)")
            errors.check()
    finally:
        server.close()


def test_server_without_identification_has_no_auto(browser, demo_bundle) -> None:
    with (
        running("--bundle", demo_bundle) as server,
        open_page(browser, server.url, locale="es-MX") as (page, errors),
    ):
        assert page.input_value("#live-language") == "Spanish"
        page.click("#live-language")
        assert options_of(page) == ["English", "French", "Italian", "Russian", "Spanish"]
        errors.check()


def test_key_is_asked_for_and_kept(browser, demo_bundle, clip) -> None:
    with (
        running("--bundle", demo_bundle, env={"MMS_API_KEY": "mms-right"}) as server,
        open_page(browser, server.url, wait=False) as (page, errors),
    ):
        for given in ("mms-wrong", "mms-right"):
            page.get_by_label("Key", exact=True).fill(given)
            page.get_by_role("button", name="Use key").click()
            if given == "mms-wrong":
                page.get_by_text("The API key is not valid.").wait_for()
        page.wait_for_selector("#live-language:enabled")
        choose(page, "live-language", "eng")
        transcribe(page, clip.path)
        kept = "[sessionStorage, localStorage].map(one => one.getItem('key'))"
        assert page.evaluate(kept) == ["mms-right", None]
        page.reload()
        page.wait_for_selector("#file-language:enabled")
        assert page.locator("dialog[open]").count() == 0
        assert errors.take("401 (Unauthorized)") == 2
        errors.check()


@pytest.mark.parametrize(
    ("flags", "permissions", "message"),
    [
        ((), ["microphone"], "No microphone was found"),
        (("--use-fake-device-for-media-stream",), [], "may not use the microphone"),
    ],
)
def test_lack_of_a_microphone_is_told(playwright, server, flags, permissions, message) -> None:
    with (
        chromium(playwright, *flags) as browser,
        open_page(browser, server.url, permissions=permissions) as (page, errors),
    ):
        page.click("#live-start")
        page.locator("#live-notice p").wait_for()
        assert message in page.inner_text("#live-notice")
        assert page.inner_text("#live-state") == "Not listening"
        errors.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_inaccessible(browser, server, clip, scheme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with open_page(browser, server.url, color_scheme=scheme) as (page, errors):

        def check() -> None:
            found = axe.run(page).response["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []

        check()
        page.click("#live-language")
        page.keyboard.type("r")
        check()
        page.keyboard.press("Escape")
        transcribe(page, clip.path)
        page.check("#file-colour")
        check()
        page.click("#file-words [data-index='0']")
        page.wait_for_selector("#file-words .current")
        check()
        errors.check()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_page_is_not_wider_than_its_window(browser, server, clip, width) -> None:
    with open_page(browser, server.url, viewport={"width": width, "height": 720}) as (page, errors):
        overflow = "document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(overflow) <= 0
        page.click("#live-language")
        assert page.evaluate(overflow) <= 0
        transcribe(page, clip.path)
        assert page.evaluate(overflow) <= 0
        errors.check()
