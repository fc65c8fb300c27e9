"""A real server process for the tests, and raw connections to it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMMAND = [sys.executable, "-c", "from mms_engine.cli import main; main()", "serve"]


class ServerProcess:
    """`mms serve` on a free port."""

    def __init__(self, *options: object, env: dict[str, str] | None = None) -> None:
        self.begin = time.monotonic()
        self.env = env or {}
        self.process = subprocess.Popen(
            [*_COMMAND, "--port", "0", *map(str, options)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.lines: list[str] = []
        self._listening = threading.Event()
        self.port = 0
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()
        if not self._listening.wait(60) or not self.port:
            raise AssertionError(self.log)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"listening on \S+:(\d+)$", line.strip()):
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self, seconds: float = 60) -> float:
        """Return the seconds from the start of the process until it was ready."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if self.get("/health/ready")[0] == 200:
                return time.monotonic() - self.begin
            time.sleep(0.02)
        raise AssertionError(self.log)

    def get(self, path: str, key: str = "", **headers: str) -> tuple[int, str]:
        """Return the status and the body of a GET."""
        request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        text = self.get("/metrics")[1]
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def wait_metric(self, name: str, value: float, seconds: float = 20) -> None:
        """Wait until a metric has a value."""
        end = time.monotonic() + seconds
        while (found := self.metric(name)) != value:
            assert time.monotonic() < end, f"{name} is {found}, not {value}"
            time.sleep(0.02)

    def wait_log(self, text: str) -> None:
        """Wait until the log, which another thread reads, has a text."""
        end = time.monotonic() + 20
        while text not in self.log:
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def resident_bytes(self, peak: bool = False) -> int:
        """Return the memory of the process."""
        name = "VmHWM" if peak else "VmRSS"
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", status)[1])

    def terminate(self) -> int:
        """End the server with SIGTERM and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(*options: object, env: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """Yield a server that is ready."""
    server = ServerProcess(*options, env=env)
    try:
        server.wait_ready()
        yield server
    finally:
        server.close()


BOUNDARY = "------------------------test"


def form_bytes(content: bytes, **fields: str) -> bytes:
    """Return a multipart form with a file `clip.flac` and fields."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.flac"\r\n\r\n'
    )
    return "".join([*parts, head]).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def request_head(length: int | str, path: str = "/v1/audio/transcriptions", *more: str) -> bytes:
    """Return the head of a request with a form; `length` may lie."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Return the status, the headers and the JSON body of the answer on a connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {received!r}")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return int(status.split()[1]), headers, json.loads(body) if body else None
