"""The process of the server: start, end, configuration, keys, and its other routes."""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from engine_demo import Clip
from mms_engine import Aligner, Identifier, Recognizer, read_audio
from mms_engine.cli.serve import serve
from mms_engine.serve.auth import Keyring, new_key, read_keyring
from mms_engine.serve.config import Limits, ServeConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.server import listening
from server_process import ServerProcess, form_bytes, read_answer, request_head, running

SCRIPT = [sys.executable, "-c", "from mms_engine.cli import main; main()"]


def post(server: ServerProcess, path: str, body: bytes, key: str = "") -> tuple[int, dict, object]:
    more = (f"Authorization: Bearer {key}",) if key else ()
    with server.connect() as connection:
        connection.sendall(request_head(len(body), path, *more) + body)
        return read_answer(connection)


def mms(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options
    )


def test_curl(server: ServerProcess, clip: Clip, recognizer: Recognizer) -> None:
    url = f"{server.url}/v1/audio/transcriptions"
    options = ["-F", f"file=@{clip.path}", "-F", "language=eng", "-F", "response_format=text"]
    found = subprocess.run(["curl", "-sS", url, *options], capture_output=True, text=True)
    assert found.stdout == recognizer.transcribe(clip.path, "eng").text + "\n"


@pytest.mark.parametrize("format_name", ["ctm", "textgrid", "srt", "vtt"])
def test_files_are_those_of_the_command(server, clip, demo_bundle, format_name) -> None:
    body = form_bytes(clip.path.read_bytes(), language="eng", response_format=format_name)
    with server.connect() as connection:
        connection.sendall(request_head(len(body)) + body.replace(b"clip.flac", b"clip.flac"))
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, text = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(text) < length:
            text += connection.recv(65536)
    wanted = mms(
        "transcribe", clip.path, "--lang", "eng", "--bundle", demo_bundle, "--format", format_name
    )
    assert text.decode().replace("clip", clip.path.stem) == wanted.stdout


def test_languages_are_found_by_any_name(server) -> None:
    status, text = server.get("/v1/languages?query=espa%C3%B1ol")
    found = json.loads(text)
    assert status == 200
    assert [(one["code"], one["iso639_1"]) for one in found["data"]] == [("spa", "es")]
    everything = json.loads(server.get("/v1/languages")[1])
    assert [one["code"] for one in everything["data"]] == ["eng", "fra", "ita", "rus", "spa"]
    page = json.loads(server.get("/v1/languages?limit=2&offset=3")[1])
    assert [one["code"] for one in page["data"]] == ["rus", "spa"]
    assert page["total"] == 5
    assert server.get("/v1/languages?limit=0")[0] == 400
    voices = json.loads(server.get("/v1/voices?query=english")[1])
    assert [one["id"] for one in voices["data"]] == [voices["default"]] == ["eng"]


def test_alignment_is_that_of_the_library(server, clip, demo_bundle) -> None:
    body = form_bytes(clip.path.read_bytes(), language="en", text=clip.text)
    status, _, found = post(server, "/v1/audio/alignments", body)
    with Aligner.open(demo_bundle, threads=1) as aligner:
        wanted = aligner.align(clip.path, clip.text, "eng")
    assert status == 200
    assert [(w["text"], w["start"], w["end"]) for w in found["words"]] == [
        (w.text, w.start, w.end) for w in wanted.words
    ]
    for fields, code in (
        ({"language": "en"}, "missing_text"),
        ({"text": "a"}, "missing_language"),
        ({"text": "12", "language": "xyz"}, "unsupported_language"),
        ({"text": "ж", "language": "en"}, "invalid_alignment"),
    ):
        status, _, answer = post(
            server, "/v1/audio/alignments", form_bytes(clip.path.read_bytes(), **fields)
        )
        assert (status, answer["error"]["code"]) == (400, code)


def test_identification_is_that_of_the_library(server, clip, lid_bundle) -> None:
    status, _, found = post(
        server, "/v1/audio/languages", form_bytes(clip.path.read_bytes(), top="2")
    )
    with Identifier.open(lid_bundle, threads=1) as identifier:
        wanted = identifier.identify(read_audio(clip.path), top=2)
    assert status == 200
    assert found["answer"] == wanted.answer
    assert [one["code"] for one in found["scores"]] == [one.code for one in wanted.scores]
    status, _, answer = post(
        server, "/v1/audio/languages", form_bytes(clip.path.read_bytes(), top="0")
    )
    assert (status, answer["error"]["param"]) == (400, "top")


def test_task_without_a_bundle_is_named(demo_bundle, clip) -> None:
    with running("--bundle", demo_bundle) as server:
        body = form_bytes(clip.path.read_bytes())
        status, _, answer = post(server, "/v1/audio/languages", body)
        assert (status, answer["error"]["code"]) == (404, "task_not_available")
        status, _, answer = post(server, "/v1/audio/transcriptions", body)
        assert (status, answer["error"]["code"]) == (400, "missing_language")
        assert "eng, fra, ita, rus, spa" in answer["error"]["message"]
        none = {"object": "list", "data": [], "total": 0, "model": None, "default": None}
        assert json.loads(server.get("/v1/voices")[1]) == none


def test_errors_of_routes_are_in_the_envelope(server) -> None:
    for path, status, code in (("/v1/nothing", 404, "not_found"), ("/v1/models/x/y", 404, "model")):
        found, text = server.get(path)
        assert found == status
        assert json.loads(text)["error"]["code"].startswith(code)
    assert post(server, "/health/live", b"")[0] == 405


def test_interface_is_documented_without_scripts(server) -> None:
    status, page = server.get("/docs")
    assert status == 200
    assert "/v1/audio/transcriptions" in page
    assert "timestamp_granularities[]" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    document = json.loads(server.get("/openapi.json")[1])
    for path in ("/v1/audio/transcriptions", "/v1/audio/alignments", "/v1/audio/languages"):
        assert "multipart/form-data" in document["paths"][path]["post"]["requestBody"]["content"]


def test_metrics_count(server, clip) -> None:
    before = server.metric("mms_audio_seconds_total")
    post(server, "/v1/audio/transcriptions", form_bytes(clip.path.read_bytes(), language="eng"))
    assert server.metric("mms_audio_seconds_total") - before == pytest.approx(2.8, abs=0.01)
    assert server.metric("mms_ready") == 1
    assert server.metric("mms_batcher_speed") > 0


def test_log_has_no_text(server, clip, recognizer) -> None:
    body = form_bytes(clip.path.read_bytes(), language="eng", prompt="zanzibar")
    post(server, "/v1/audio/transcriptions", body)
    server.wait_log("POST /v1/audio/transcriptions 200")
    for word in ("zanzibar", "clip.flac", *recognizer.transcribe(clip.path, "eng").text.split()):
        if len(word) > 5:
            assert word not in server.log


def test_server_is_ready_at_once_and_listens_before(demo_bundle) -> None:
    server = ServerProcess("--bundle", demo_bundle)
    try:
        states = set()
        while (answer := server.get("/health/ready"))[0] == 503:
            states.add(json.loads(answer[1])["status"])
            status, text = server.get("/v1/models")
            if status == 503:
                assert json.loads(text)["error"]["code"] == "loading"
        assert states <= {"loading"}
        assert server.get("/health/live")[0] == 200
    finally:
        server.close()


def test_sigterm_finishes_what_runs_and_takes_no_more(demo_bundle, clip) -> None:
    body = form_bytes(clip.path.read_bytes(), language="eng")
    with running("--bundle", demo_bundle) as server, server.connect() as running_call:
        running_call.sendall(request_head(len(body)) + body[:100])
        server.wait_metric("mms_requests_running", 1)
        server.process.send_signal(signal.SIGTERM)
        while server.get("/health/ready")[0] == 200:
            time.sleep(0.01)
        assert json.loads(server.get("/health/ready")[1]) == {"status": "draining"}
        status, headers, answer = post(server, "/v1/audio/transcriptions", body)
        assert (status, answer["error"]["code"]) == (503, "draining")
        assert headers["connection"] == "close"
        assert "retry-after" in headers
        running_call.sendall(body[100:])
        status, headers, answer = read_answer(running_call)
        assert (status, bool(answer["text"])) == (200, True)
        assert headers["connection"] == "close"
        assert server.process.wait(30) == 0


def test_drain_has_an_end(demo_bundle) -> None:
    with running("--bundle", demo_bundle, "--drain-seconds", 1) as server:
        with server.connect() as held:
            held.sendall(request_head(1000))
            server.wait_metric("mms_requests_running", 1)
            begin = time.monotonic()
            assert server.terminate() == 0
            assert time.monotonic() - begin < 15
        server.wait_log("cut off")


def test_second_signal_ends_at_once(demo_bundle) -> None:
    with running("--bundle", demo_bundle) as server, server.connect() as held:
        held.sendall(request_head(1000))
        server.wait_metric("mms_requests_running", 1)
        server.process.send_signal(signal.SIGINT)
        while server.get("/health/ready")[0] == 200:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) is not None


def test_keys_have_scopes(demo_bundle, clip, tmp_path) -> None:
    made = {
        name: mms("key", name, "--scope", scope)
        for name, scope in (("writer", "transcribe"), ("watcher", "metrics"))
    }
    file = tmp_path / "keys.txt"
    file.write_text("# keys\n" + "".join(one.stdout for one in made.values()))
    secrets = {name: one.stderr.split()[-1] for name, one in made.items()}
    assert not any(secret in file.read_text() for secret in secrets.values())
    body = form_bytes(clip.path.read_bytes(), language="eng")
    server = ServerProcess("--bundle", demo_bundle, "--keys", file)
    try:
        server.wait_ready()
        path = "/v1/audio/transcriptions"
        assert post(server, path, body, secrets["writer"])[0] == 200
        assert post(server, path, body, secrets["watcher"])[0] == 403
        assert post(server, path, body, "wrong")[0] == 401
        status, headers, answer = post(server, path, body)
        assert (status, answer["error"]["code"]) == (401, "missing_api_key")
        assert headers["www-authenticate"] == "Bearer"
        assert server.get("/metrics", secrets["watcher"])[0] == 200
        assert server.get("/metrics", secrets["writer"])[0] == 403
        assert server.get("/v1/models")[0] == 401
        assert server.get("/v1/models", secrets["watcher"])[0] == 200
        assert server.get("/health/live")[0] == 200
        server.wait_log("key writer")
        assert not any(secret in server.log for secret in secrets.values())
    finally:
        server.close()


def test_key_is_refused_before_the_body(demo_bundle) -> None:
    options = ("--bundle", demo_bundle)
    with running(*options, env={"MMS_API_KEY": "s"}) as server, server.connect() as connection:
        connection.sendall(request_head(1000))
        assert read_answer(connection)[0] == 401


def test_file_of_keys_that_is_wrong_is_one_line(tmp_path, demo_bundle) -> None:
    file = tmp_path / "keys.txt"
    for content in ("", "name transcribe", "name fly " + "0" * 64, "a b c d"):
        file.write_text(content)
        found = mms("serve", "--bundle", demo_bundle, "--keys", file)
        assert found.returncode == 1
        assert str(file) in found.stderr.splitlines()[-1]


def test_keyring_compares_whole_keys(tmp_path) -> None:
    secret, line = new_key("one", ("transcribe",))
    file = tmp_path / "keys"
    file.write_text(line)
    ring = read_keyring(file)
    assert ring.find(f"bearer {secret}").name == "one"
    for wrong in ("", secret, f"Basic {secret}", f"Bearer {secret[:-1]}", f"Bearer {secret}x"):
        with pytest.raises(ApiError) as raised:
            ring.find(wrong)
        assert raised.value.status == 401
    assert Keyring(()).find("") is None


def test_options_variables_and_file_in_this_order(demo_bundle, tmp_path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        f'bundle = ["{demo_bundle}"]\nmax-requests = 7\nmax_seconds = 11.0\nheader-seconds = 5\n'
        '[alias]\nfrom-file = "demo"\n'
    )
    env = {"MMS_MAX_SECONDS": "12", "MMS_HEADER_SECONDS": "6", "MMS_CONFIG": str(file)}
    with running("--header-seconds", 1, env=env) as server, server.connect() as idle:
        begin = time.monotonic()
        assert read_answer(idle)[0] == 408
        assert time.monotonic() - begin < 4  # the option, not the variable or the file
        assert "from-file" in server.get("/v1/models")[1]


def test_defaults_of_options_are_those_of_the_library() -> None:
    options = {one.name: one.default for one in serve.params}
    for name in Limits.__dataclass_fields__:
        assert options[name] == getattr(Limits(), name), name
    assert options["port"] == ServeConfig(bundles=()).port
    assert options["host"] == ServeConfig(bundles=()).host


def test_wrong_configuration_is_one_line(demo_bundle, tmp_path) -> None:
    file = tmp_path / "serve.toml"
    for content in ("unknown = 1", "port = 'x'", "[limits]\nmax_requests = 1", "not toml"):
        file.write_text(content)
        found = mms("serve", "--bundle", demo_bundle, "--config", file)
        assert found.returncode == 2, found.stderr
    for options, code in (
        (("--bundle", tmp_path), 1),
        (("--bundle", demo_bundle, "--alias", "x=y"), 1),
        (("--bundle", demo_bundle, "--alias", "x"), 2),
        (("--bundle", demo_bundle, "--max-requests", 0), 2),
        (("--bundle", demo_bundle, "--max-seconds", "inf"), 2),
    ):
        found = mms("serve", "--port", 0, *options)
        assert (found.returncode, "Traceback" in found.stderr) == (code, False), found.stderr


def test_busy_port_is_one_line(server, demo_bundle) -> None:
    found = mms("serve", "--bundle", demo_bundle, "--port", server.port)
    assert found.returncode == 1
    assert "in use" in found.stderr.splitlines()[-1]


def test_small_parts_of_an_answer_are_not_held_back() -> None:
    """Otherwise the second waits 40 ms for the client's acknowledgement of the first."""
    with (
        listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def make_certificate(folder: Path, *options: str) -> tuple[Path, Path]:
    """Return the files of a certificate of localhost and of its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    folder.mkdir(exist_ok=True)
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "1", *name]
    command += [*(options or ["-nodes"]), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")
def test_tls(demo_bundle, tmp_path, clip) -> None:
    certificate, key = make_certificate(tmp_path)
    server = ServerProcess(
        "--bundle", demo_bundle, "--tls-certificate", certificate, "--tls-key", key
    )
    try:
        url = f"https://localhost:{server.port}/health/live"
        with urllib.request.urlopen(
            url, context=ssl.create_default_context(cafile=certificate), timeout=60
        ) as response:
            assert response.status == 200
        server.wait_log("https://")
        address = f"https://localhost:{server.port}"
        found = mms("stream", clip.path, "--lang", "eng", "--server", address)
        assert found.returncode == 1
        assert "SSL_CERT_FILE" in found.stderr.splitlines()[-1]
    finally:
        server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")
def test_files_of_tls_that_are_wrong_are_one_line(demo_bundle, tmp_path) -> None:
    certificate, key = make_certificate(tmp_path / "a")
    _, other = make_certificate(tmp_path / "b")
    locked = make_certificate(tmp_path / "c", "-passout", "pass:secret")
    for files, problem in (
        ((certificate, other), f"{other} is of another certificate"),
        ((certificate, tmp_path / "none.pem"), "none.pem: the file of TLS cannot be read"),
        ((tmp_path / "none.pem", key), "none.pem: the file of TLS cannot be read"),
        ((certificate, None), "--tls-key"),
        ((key, key), "a certificate and its key as PEM"),
        ((None, key), "--tls-certificate"),
        (locked, "is encrypted"),
    ):
        options = zip(("--tls-certificate", "--tls-key"), files, strict=True)
        given = [part for name, file in options if file for part in (name, file)]
        found = mms("serve", "--bundle", demo_bundle, "--port", 0, *given)
        (line,) = found.stderr.splitlines()
        assert found.returncode == 1
        assert problem in line


def test_end_leaves_nothing_in_memory(demo_bundle, clip) -> None:
    """Not even the streams that are kept for a client that might come back."""
    with running("--bundle", demo_bundle, "--no-admission") as server:
        found = mms("stream", clip.path, "--lang", "eng", "--server", server.url)
        assert found.returncode == 0, found.stderr
        assert server.terminate() == 0
        server.reading.join(20)
        assert "leaked" not in server.log  # by the kernels' binding, at the end of the process


def test_open_server_on_every_address_warns(demo_bundle) -> None:
    everywhere = "0.0.0.0"  # noqa: S104
    with running("--bundle", demo_bundle, "--host", everywhere) as server:
        server.wait_log("no API keys")


def test_cross_origin_requests_are_off_by_default(demo_bundle, clip) -> None:
    origin = "https://app.example"
    with running("--bundle", demo_bundle, "--cors-origin", origin) as server:
        status, _ = server.get("/v1/models", Origin=origin)
        assert status == 200
        assert server.get("/v1/models", Origin="https://other.example")[0] == 403


def test_demo_bundles_are_the_default(demo_bundle, lid_bundle, demo_voice, tmp_path, clip) -> None:
    folder = tmp_path / "mms-engine" / "bundles"
    folder.mkdir(parents=True)
    (folder / "demo").symlink_to(demo_bundle)
    body = form_bytes(clip.path.read_bytes())
    for path, wanted in (("demo", 404), ("demo-lid", 200)):
        if path == "demo-lid":
            (folder / path).symlink_to(lid_bundle)
            (folder / "demo-voice").symlink_to(demo_voice)
        with running(env={"XDG_CACHE_HOME": str(tmp_path), "MMS_BUNDLE": ""}) as server:
            assert post(server, "/v1/audio/languages", body)[0] == wanted
            assert server.get("/v1/models/demo")[0] == 200
            assert server.get("/v1/models/tts-1")[0] == wanted
