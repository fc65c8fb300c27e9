"""`mms stream --server`: the output of a local stream, clear refusals, and broken connections."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from engine_demo import Clip
from mms_engine import read_audio
from mms_engine.asr.streaming.events import event_fields, read_event
from server_process import ServerProcess, running

COMMAND = [sys.executable, "-c", "from mms_engine.cli import main; main(prog_name='mms')", "stream"]


@pytest.fixture(scope="module")
def plain(demo_bundle) -> Iterator[ServerProcess]:
    with running("--bundle", demo_bundle, "--no-admission") as started:
        yield started


def mms_stream(*arguments: object, content: bytes | None = None, **env: str):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=content,
        capture_output=True,
        timeout=120,
        env={**os.environ, **env},
    )


def lines(found: subprocess.CompletedProcess) -> list[dict]:
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def settled(events: list[dict]) -> list[dict]:
    """Return the events that do not depend on when the audio came."""
    kept = [one for one in events if one["type"] != "partial"]
    return [
        {k: v for k, v in one.items() if k not in ("wall_seconds", "audio_seconds")} for one in kept
    ]


@pytest.mark.parametrize("latency", ["low", "balanced"])
def test_file_has_the_events_of_a_local_stream(plain, clip: Clip, demo_bundle, latency) -> None:
    options = (clip.path, "--lang", "eng", "--latency", latency, "--pause", 0.3, "--json")
    remote = lines(mms_stream(*options, "--server", plain.url))
    local = lines(mms_stream(*options, "--bundle", demo_bundle))
    assert settled(remote) == settled(local) != []
    for one in remote:
        assert json.loads(msgspec.json.encode(event_fields(read_event(one)))) == one


@pytest.mark.parametrize("kind", ["raw", "container"])
def test_standard_input_has_the_events_of_a_local_stream(plain, clip, demo_bundle, kind) -> None:
    content, options = clip.path.read_bytes(), ["-", "--lang", "eng", "--json"]
    if kind == "raw":
        samples = read_audio(clip.path).samples[::2]
        content = (samples * 32767).astype("<i2").tobytes()
        options += ["--sample-rate", 8000]
    remote = lines(mms_stream(*options, "--server", f"{plain.url}/v1/", content=content))
    local = lines(mms_stream(*options, "--bundle", demo_bundle, content=content))
    assert settled(remote) == settled(local) != []


def test_error_of_the_source_comes_after_the_text(plain, clip, tmp_path) -> None:
    path = tmp_path / "cut.flac"
    path.write_bytes(clip.path.read_bytes()[:-9000])
    found = mms_stream(path, "--lang", "eng", "--server", plain.url)
    assert found.returncode == 1
    assert b'"final"' in found.stdout
    assert b"cut.flac" in found.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--server", "ftp://x"], 2, "is no URL such as http://127.0.0.1:8000"),
        (["--server", "http://"], 2, "is no URL such as"),
        (["--server", "http://127.0.0.1:99999"], 2, "is no URL such as"),
        (["--server", "http://127.0.0.1:1"], 1, "cannot be reached: Connection refused"),
        (["--server", "URL", "--beam-size", "5"], 2, "--beam-size does not go with --server"),
        (["--server", "URL", "--bundle", "x"], 2, "--bundle does not go with --server"),
        (["--server", "URL", "--lang", "xx"], 1, "refused the stream: no language 'xx'"),
    ],
)
def test_wrong_arguments_are_one_line(plain, clip, arguments, code, message) -> None:
    given = [plain.url if one == "URL" else one for one in arguments]
    found = mms_stream(clip.path, "--lang", "eng", *given)
    assert found.returncode == code
    assert message in found.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in found.stderr


def test_key_is_needed_and_taken_from_the_variable(demo_bundle, clip) -> None:
    server = ServerProcess("--bundle", demo_bundle, env={"MMS_API_KEY": "secret"})
    try:
        while server.get("/health/ready")[0] != 200:
            time.sleep(0.02)
        options = (clip.path, "--lang", "eng", "--server", server.url)
        found = mms_stream(*options)
        assert found.returncode == 1
        assert b"needs an API key" in found.stderr
        assert b"(--key or MMS_API_KEY)" in found.stderr
        assert lines(mms_stream(*options, MMS_API_KEY="secret"))
        assert lines(mms_stream(*options, "--key", "secret"))
    finally:
        server.close()


def test_other_server_is_named_as_such(clip) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found = mms_stream(clip.path, "--lang", "eng", "--server", url)
    assert found.returncode == 1
    assert b"is it mms serve?" in found.stderr


def test_ctrl_c_prints_the_final_text(plain, clip) -> None:
    samples = read_audio(clip.path).samples
    content = (samples * 32767).astype("<i2").tobytes()
    arguments = [*COMMAND, "-", "--lang", "eng", "--server", plain.url]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(content)
    process.stdin.flush()
    assert b'"partial"' in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    process.stdin.close()
    assert process.wait(30) == 130
    assert b'"final"' in rest
    assert b'"reason":"end"' in rest


class Proxy:
    """Forwarder of connections that breaks them after so many bytes from the client."""

    def __init__(self, ports: list[int], breaks: list[int]) -> None:
        self.ports, self.breaks, self.count = ports, breaks, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            number, self.count = self.count, self.count + 1
            limit = self.breaks[number] if number < len(self.breaks) else 1 << 60
            server = socket.create_connection(
                ("127.0.0.1", self.ports[min(number, len(self.ports) - 1)])
            )
            pair = (client, server)
            threading.Thread(target=self._forward, args=(*pair, limit), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, 1 << 60)).start()

    def _forward(self, source: socket.socket, target: socket.socket, limit: int) -> None:
        passed = 0
        try:
            while passed < limit and (content := source.recv(min(65536, limit - passed))):
                target.sendall(content)
                passed += len(content)
        except OSError:
            pass
        for one in (source, target):
            one.close()


def repeated(clip: Clip, folder: Path, times: int) -> Path:
    """Return a recording of several utterances."""
    samples = read_audio(clip.path).samples
    path = folder / "long.flac"
    soundfile.write(path, np.concatenate([samples, np.zeros(24_000, np.float32)] * times), 16_000)
    return path


@pytest.mark.parametrize("seed", range(3))
def test_broken_connections_lose_nothing(plain, clip, demo_bundle, tmp_path, seed) -> None:
    path = repeated(clip, tmp_path, 5)
    random = np.random.default_rng(seed)
    breaks = [int(one) for one in random.integers(1_000, 500_000, 4)]
    proxy = Proxy([plain.port], breaks)
    options = (path, "--lang", "eng", "--json")
    found = mms_stream(*options, "--server", f"http://127.0.0.1:{proxy.port}")
    proxy.listener.close()
    remote, local = lines(found), lines(mms_stream(*options, "--bundle", demo_bundle))
    assert settled(remote) == settled(local) != []
    assert proxy.count == 5
    plain.wait_metric("mms_sockets", 0)


def test_killed_server_is_replaced_by_another(clip, demo_bundle, tmp_path) -> None:
    store = tmp_path / "sessions"
    store.mkdir()
    path = repeated(clip, tmp_path, 4)
    options = ("--bundle", demo_bundle, "--no-admission", "--session-store", store)
    with running(*options) as first, running(*options) as second:
        proxy = Proxy([first.port, second.port], [])
        arguments = [path, "--lang", "eng", "--json", "--realtime"]
        url = f"http://127.0.0.1:{proxy.port}"
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--server", url], stdout=subprocess.PIPE
        )
        while not list(store.iterdir()):
            time.sleep(0.05)
        time.sleep(1.5)  # audio and events behind the saved state
        first.process.kill()
        remote = [json.loads(line) for line in process.communicate(timeout=120)[0].splitlines()]
        proxy.listener.close()
        assert process.returncode == 0
        second.wait_log("SOCKET /v1/stream 101")
    local = lines(mms_stream(path, "--lang", "eng", "--json", "--bundle", demo_bundle))
    assert settled(remote) == settled(local) != []


def test_ending_server_hands_its_streams_over(clip, demo_bundle, tmp_path) -> None:
    store = tmp_path / "sessions"
    store.mkdir()
    path = repeated(clip, tmp_path, 4)
    options = ("--bundle", demo_bundle, "--no-admission", "--session-store", store)
    with running(*options, "--drain-seconds", 0.5) as first, running(*options) as second:
        proxy = Proxy([first.port, second.port], [])
        arguments = [path, "--lang", "eng", "--json", "--realtime"]
        url = f"http://127.0.0.1:{proxy.port}"
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--server", url], stdout=subprocess.PIPE
        )
        assert b'"partial"' in process.stdout.readline()
        first.process.send_signal(signal.SIGTERM)
        remote = [json.loads(line) for line in process.communicate(timeout=120)[0].splitlines()]
        proxy.listener.close()
        assert first.process.wait(30) == 0
        assert process.returncode == 0
    local = lines(mms_stream(path, "--lang", "eng", "--json", "--bundle", demo_bundle))
    assert settled(remote) == settled(local) != []
