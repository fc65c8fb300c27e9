"""The page without a browser: its files, their headers, and what they may load."""

import json
import re
import urllib.error
import urllib.request
from importlib import resources

import pytest

from server_process import ServerProcess, running

FILES = sorted(
    entry.name for entry in resources.files("mms_engine.serve.page").joinpath("files").iterdir()
)
SOURCES = {
    name: resources.files("mms_engine.serve.page").joinpath("files", name).read_text("utf-8")
    for name in FILES
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def path_of(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"


def fetch(server: ServerProcess, path: str, method: str = "GET", **headers: str):
    request = urllib.request.Request(server.url + path, headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.mark.parametrize("name", FILES)
def test_files_are_served_with_their_headers(server, name) -> None:
    status, headers, content = fetch(server, path_of(name))
    assert status == 200
    assert content.decode() == SOURCES[name]
    assert headers["Content-Type"] == TYPES["." + name.rpartition(".")[2]]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Permissions-Policy"].startswith("microphone=(self)")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_files_are_kept_until_they_change(server) -> None:
    _, headers, _ = fetch(server, "/page/app.js")
    assert headers["Cache-Control"] == "no-cache"
    for known in (headers["ETag"], f'"other", W/{headers["ETag"]}'):
        status, again, content = fetch(server, "/page/app.js", **{"If-None-Match": known})
        assert (status, content, again["ETag"]) == (304, b"", headers["ETag"])
    assert fetch(server, "/page/app.js", **{"If-None-Match": '"other"'})[0] == 200
    assert fetch(server, "/", "HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    "path", ["/page/", "/page/index.html", "/page/nothing.js", "/page/..%2Froute.py", "/page/%00"]
)
def test_nothing_else_is_served(server, path) -> None:
    assert fetch(server, path)[0] == 404


def test_page_needs_no_key(demo_bundle, tmp_path) -> None:
    with running("--bundle", demo_bundle, env={"MMS_API_KEY": "secret"}) as server:
        assert fetch(server, "/")[0] == fetch(server, "/page/app.js")[0] == 200
        assert fetch(server, "/v1/languages")[0] == 401


def test_page_is_not_part_of_the_interface(server) -> None:
    document = fetch(server, "/openapi.json")[2].decode()
    assert "/page/" not in document


def test_page_loads_only_its_own_files() -> None:
    page = SOURCES["index.html"]
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert "<style" not in page
    assert re.findall(r'\s(?:style|on\w+)="', page) == []
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="page/([^"]+)"', page)
    for name, source in SOURCES.items():
        if name.endswith(".js"):
            loaded += re.findall(r'from "\./([^"]+)"', source)
            loaded += re.findall(r'address\("page/([^"]+)"\)', source)
            for unsafe in ("innerHTML", "insertAdjacentHTML", "eval(", "document.write"):
                assert unsafe not in source, name
        outside = {"http://www.w3.org/2000/svg"}
        assert set(re.findall(r"https?://[^\s\"'`)]+", source)) <= outside, name
    assert set(loaded) | {"index.html"} == set(FILES)


def test_languages_say_what_the_picker_shows(server) -> None:
    answer = json.loads(server.get("/v1/languages")[1])
    assert answer["tasks"] == ["transcribe", "align", "identify", "speak"]
    assert {one["code"]: one["country"] for one in answer["data"]}["rus"] == "Russia"
