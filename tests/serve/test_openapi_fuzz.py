"""Fuzzer of every route of the OpenAPI document, for a bounded time; and of `/v1/stream`.

`MMS_FUZZ_SECONDS` sets the time of each, `MMS_FUZZ_SEED` the seed.
"""

import json
import logging
import os
import random
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from engine_demo import Clip
from server_process import ServerProcess, running

SECONDS = float(os.environ.get("MMS_FUZZ_SECONDS", "20"))
ANSWER_SECONDS = 60
"""Time for an answer, on a busy machine."""
CLIENTS = 4
SEED = int(os.environ.get("MMS_FUZZ_SEED", "1"))
ENDS = {400, 404, 429, 503, 1000, 1003, 1007, 1008, 1009, 1013}
"""Statuses of refused handshakes, and codes of closed connections; none is a fault (500, 1011)."""
_BODY_SHARE = 8
"""Time for a route with a body, of that for one without."""
_SETTINGS = settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def attacked(demo_bundle: Path, lid_bundle: Path, demo_voice: Path) -> Iterator[ServerProcess]:
    """A server with every task and short limits."""
    options = {
        "--header-seconds": 2,
        "--body-seconds": 2,
        "--stream-idle-seconds": 2,
        "--max-seconds": 30,
        "--max-characters": 200,
        "--max-upload-bytes": 1 << 20,
    }
    flat = [part for option in options.items() for part in option]
    bundles = [part for one in (demo_bundle, lid_bundle, demo_voice) for part in ("--bundle", one)]
    with running(*bundles, "--no-admission", *flat) as server:
        yield server


def files(clip: Clip) -> st.SearchStrategy[bytes]:
    """Return audio files, whole, damaged and none."""
    content = clip.path.read_bytes()
    whole = st.just(content)
    cut = st.integers(0, len(content)).map(lambda length: content[:length])
    return st.one_of(whole, whole, cut, st.binary(max_size=200))


def operations(server: ServerProcess) -> list[schemathesis.APIOperation]:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found = list(document.get_all_operations())
    assert all(isinstance(one, Ok) for one in found)
    return [one.ok() for one in found]


def check(case: Case) -> None:
    """Send a request; its answer is no fault of the server, and an error is in the envelope."""
    answer = case.call(timeout=ANSWER_SECONDS)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if answer.status_code >= 400 and case.method != "HEAD":
        error = json.loads(answer.text)["error"]
        assert error["message"]
        assert error["code"]
        assert error["code"] != "internal_error"


def check_whole(server: ServerProcess) -> None:
    """Check that nothing is held after the attack."""
    server.wait_metric("mms_requests_running", 0)
    server.wait_metric("mms_streams", 0)
    for name in ("mms_upload_bytes", "mms_decoded_seconds", "mms_sockets"):
        server.wait_metric(name, 0)
    assert server.process.poll() is None
    assert "Traceback" not in server.log


def attack(operation: schemathesis.APIOperation, mode: GenerationMode, seconds: float) -> int:
    """Send requests of a route for a time; return their number."""
    count, begin = 0, time.monotonic()

    def run(case: Case) -> None:
        nonlocal count
        check(case)
        count += 1

    strategy = operation.as_strategy(generation_mode=mode)
    with suppress(Unsatisfiable):  # a route without fields has no wrong ones
        while not count or time.monotonic() - begin < seconds:
            seed(SEED + count)(_SETTINGS(given(case=strategy)(run)))()
    return count


def test_no_request_is_a_fault_of_the_server(attacked: ServerProcess, clip: Clip) -> None:
    schemathesis.openapi.format("binary", files(clip))
    attacks = [(one, mode) for one in operations(attacked) for mode in GenerationMode]
    assert len(attacks) > 20
    shares = [_BODY_SHARE if one.body else 1 for one, _ in attacks]
    for (operation, mode), share in zip(attacks, shares, strict=True):
        count = attack(operation, mode, SECONDS * share / sum(shares))
        logger.info("%s, %s: %d requests", operation.label, mode.value, count)
        assert count or mode is GenerationMode.NEGATIVE
    check_whole(attacked)


def tensor(data: str, kind: str = "FP32") -> str:
    language = '{"name": "language", "datatype": "BYTES", "shape": [1], "data": ["eng"]}'
    audio = f'{{"name": "audio", "datatype": "{kind}", "shape": [1], "data": {data}}}'
    return f'{{"inputs": [{audio}, {language}]}}'


DEEP = "[" * 100_000
BODIES = {
    "deep": DEEP + "]" * 100_000,
    "deep, open": DEEP,
    "deep objects": '{"a": ' * 100_000,
    "deep tensor": tensor(DEEP + "]" * 100_000),
    "great number": tensor(f"[1{'0' * 400}]"),
    "greater number": tensor(f"[1{'0' * 6000}]"),
    "great float": tensor("[1e999]"),
    "no number": tensor("[NaN]"),
    "words": tensor('["a"]'),
    "ragged": tensor("[[1], [1, 2]]"),
    "objects": tensor('[{"a": 1}]'),
    "null": tensor("null"),
    "half a character": tensor('["\\ud800"]', "BYTES"),
    "speech, deep": '{"input": ' + DEEP,
    "speech, half a character": '{"input": "\\ud800", "voice": "eng", "model": "tts-1"}',
    "speech, number": '{"input": 1, "voice": {"id": []}, "speed": 1e999}',
    "voice of objects": '{"input": "a", "voice": {"id": {"id": "eng"}}, "model": "tts-1"}',
    "great speed": f'{{"input": "a", "voice": "eng", "model": "tts-1", "speed": 1{"0" * 400}}}',
    "not UTF-8": b'{"input": "\xff\xfe"}',
    "empty": "",
    "list": "[]",
    "text": '"a"',
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/v2/models/demo/infer", "/v1/audio/speech"])
def test_hostile_json_is_an_error_of_the_client(attacked, path: str, name: str) -> None:
    body = BODIES[name]
    content = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(attacked.url + path, content, headers)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS)  # noqa: S310
    answer = caught.value.read().decode()
    assert 400 <= caught.value.code < 500, answer
    assert json.loads(answer)["error"]["code"]


class StreamAttack:
    """Random messages of one client of `/v1/stream`."""

    def __init__(self, rng: random.Random, content: bytes) -> None:
        self._rng = rng
        self._content = content

    def query(self) -> str:
        """Return a query, most of it valid."""
        rng = self._rng
        fields = {
            "language": rng.choice(("eng", "en", "auto", "auto:eng,fra", "", "xx", "\x00")),
            "latency": rng.choice(("low", "balanced", "accurate", "", "fast")),
            "format": rng.choice(("s16le", "f32le", "mulaw", "alaw", "container", "wav")),
            "sample_rate": rng.choice(("16000", "8000", "0", "-1", "1e9", "")),
            "pause": rng.choice(("1.2", "0", "nan", "inf", "")),
            "tentative": rng.choice(("true", "false", "maybe")),
            "hotwords": rng.choice(("letters", "\ud7ff", "a" * 300)),
            "model": rng.choice(("demo", "", "gpt")),
            "unknown": "1",
        }
        valid = {"language": "eng"} if rng.random() < 0.7 else {}
        chosen = {name: fields[name] for name in fields if rng.random() < 0.15}
        return urlencode(valid | chosen)

    def messages(self) -> list[str | bytes]:
        """Return what is sent, audio and texts."""
        return [self._message() for _ in range(self._rng.randint(0, 12))]

    def _message(self) -> str | bytes:
        rng = self._rng
        if rng.random() < 0.6:
            begin = rng.randrange(len(self._content))
            return self._content[begin : begin + rng.choice((0, 1, 63, 4096, 64_000))]
        return rng.choice(
            (
                '{"type": "flush"}',
                '{"type": "finish"}',
                '{"type": "finish", "a": [[[]]]}',
                '{"type": 1}',
                '{"type": "session"}',
                "[" * 20_000,
                "null",
                "\x00",
                "",
                "x" * 100_000,
            )
        )


def attack_stream(url: str, number: int, content: bytes, end: float) -> list[int]:
    """Open streams until the time is over; return how each ended: a status or a close code."""
    rng, ends = random.Random(SEED + number), []  # noqa: S311
    while time.monotonic() < end:
        one = StreamAttack(rng, content)
        try:
            with connect(f"{url}/v1/stream?{one.query()}", open_timeout=ANSWER_SECONDS) as socket:
                for message in one.messages():
                    socket.send(message)
                ends.append(1000)
                while rng.random() < 0.99:
                    socket.recv(timeout=ANSWER_SECONDS)
        except InvalidStatus as error:
            ends.append(error.response.status_code)
        except ConnectionClosed as error:
            ends.append(0 if error.rcvd is None else error.rcvd.code)
    return ends


def test_no_message_is_a_fault_of_the_server(attacked: ServerProcess, clip: Clip) -> None:
    url = attacked.url.replace("http", "ws")
    content = clip.path.read_bytes()
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CLIENTS) as threads:
        attacks = [threads.submit(attack_stream, url, i, content, end) for i in range(CLIENTS)]
        while time.monotonic() < end:
            begin = time.monotonic()
            assert attacked.get("/health/ready")[0] == 200
            assert time.monotonic() - begin < 10
            time.sleep(0.5)
        ends = Counter(code for one in attacks for code in one.result())
    logger.info("ends of streams: %s", dict(ends))
    assert ends.total() > SECONDS
    assert set(ends) <= ENDS
    check_whole(attacked)
