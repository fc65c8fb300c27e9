"""Realtime sessions that outlive a connection: resumed on the same server and on another."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from engine_demo import Clip
from mms_engine import Recognizer
from mms_engine.serve.auth import new_key
from mms_engine.serve.errors import ApiError
from mms_engine.serve.realtime.outbox import Outbox
from realtime_client import COMPLETED, DELTA, MANUAL, PATH, of_library, pieces, refusal, samples_of
from server_process import ServerProcess, running

APPEND = "input_audio_buffer.append"
COMMIT = "input_audio_buffer.commit"


class Client:
    """A client that keeps its messages, and goes on where the server says."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.created: dict[str, Any] = {}

    def add(self, kind: str, /, **fields: Any) -> None:
        self.messages.append(json.dumps({"type": kind, **fields}))

    def speak(self, content: bytes) -> None:
        for piece in pieces(content):
            self.add(APPEND, audio=piece)

    @property
    def completed(self) -> list[str]:
        return [one["transcript"] for one in self.events if one["type"] == COMPLETED]

    def talk(
        self,
        server: ServerProcess,
        count: int,
        until: Callable[["Client"], bool],
        then: Callable[[], object] | None = None,
    ) -> None:
        """Connect, send up to `count` messages, read until something holds, and break off.

        Args:
            server: Server.
            count: Messages of the whole session to send.
            until: What must hold.
            then: Called before the end; the rest of the events is read after it.
        """
        query = "&resume=new"
        if self.created:
            query = f"&resume={self.created['session']['id']}&after={self.events[-1]['event_id']}"
        address = f"ws://127.0.0.1:{server.port}{PATH}{query}"
        connection = connect(address, compression=None, proxy=None)
        begin = self._begin(json.loads(connection.recv(30)))
        for message in self.messages[begin:count]:
            connection.send(message)
        while not until(self):
            self._take(json.loads(connection.recv(30)))
        if then is not None:
            then()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    self._take(json.loads(connection.recv(30)))
        with contextlib.suppress(OSError):
            connection.socket.shutdown(2)
        connection.socket.close()

    def _begin(self, created: dict[str, Any]) -> int:
        """Take the first event; return the number of messages that the server has."""
        assert created["type"] == "session.created"
        if not self.created:
            self.created = created
            self._take(created)
            return 0
        number = _number(created)
        self.events = [one for one in self.events if _number(one) <= number]
        own = created["session"].pop("x_mms")
        assert own.pop("resumed")
        received = own.pop("received")
        self.created["session"]["x_mms"] = own
        assert created["session"]["id"] == self.created["session"]["id"]
        return received

    def _take(self, event: dict[str, Any]) -> None:
        assert event["type"] != "error", event
        self.events.append(event)

    def check(self) -> None:
        """Check that every event came once, and that the deltas are the text."""
        assert [_number(one) for one in self.events] == list(range(1, len(self.events) + 1))
        deltas: dict[str, str] = {}
        for one in self.events:
            if one["type"] == DELTA:
                deltas[one["item_id"]] = deltas.get(one["item_id"], "") + one["delta"]
            elif one["type"] == COMPLETED:
                assert one["transcript"] == deltas.get(one["item_id"], "")


def _number(event: dict[str, Any]) -> int:
    return int(event["event_id"].rpartition("_")[2])


@pytest.fixture(scope="module")
def speech(clips: list[Clip]) -> bytes:
    english = [one for one in clips if one.language == "eng"]
    return b"".join(samples_of(one, 24_000).tobytes() for one in english)


@pytest.fixture(scope="module")
def alone(demo_bundle: Path) -> Iterator[ServerProcess]:
    """A server that keeps sessions in memory only, for two seconds."""
    with running("--bundle", demo_bundle, "--no-admission", "--session-seconds", 2) as started:
        yield started


def speaker(speech: bytes) -> Client:
    client = Client()
    turns = {"audio": {"input": {"transcription": {"language": "en"}}}}
    client.add("session.update", session=turns)
    client.speak(speech)
    return client


def has_events(count: int) -> Callable[[Client], bool]:
    return lambda client: len(client.events) >= count


def has_turns(count: int) -> Callable[[Client], bool]:
    return lambda client: len(client.completed) >= count


def test_session_goes_on_after_many_breaks(alone, speech, recognizer: Recognizer) -> None:
    client = speaker(speech)
    wanted = of_library(recognizer, speech, "eng")
    whole = len(client.messages)
    for place in range(1, 8):
        client.talk(alone, whole * place // 8, has_events(2 * place))
    client.talk(alone, whole, has_turns(len(wanted)))
    client.check()
    assert client.completed == wanted


def test_manual_turn_over_a_break(alone, clip, recognizer: Recognizer) -> None:
    content = samples_of(clip, 24_000).tobytes()
    client = Client()
    client.add("session.update", session=MANUAL)
    client.speak(content)
    client.add(COMMIT)
    client.talk(alone, len(client.messages) // 2, has_events(2))
    client.talk(alone, len(client.messages), has_turns(1))
    client.check()
    assert client.completed == [" ".join(of_library(recognizer, content, "eng"))]


def test_server_that_ends_hands_its_sessions_over(
    demo_bundle, speech, recognizer: Recognizer, tmp_path
) -> None:
    client = speaker(speech)
    wanted = of_library(recognizer, speech, "eng")
    options = ("--bundle", demo_bundle, "--no-admission", "--session-store", tmp_path)
    with running(*options) as second:
        with running(*options, "--drain-seconds", 1) as first:
            half = len(client.messages) // 2
            client.talk(first, half, has_turns(1), first.process.terminate)
            assert first.process.wait(30) == 0
        seen = len(client.events)
        client.talk(second, len(client.messages), has_turns(len(wanted)))
        assert len(client.events) > seen
        client.check()
        assert client.completed == wanted
        second.wait_metric("mms_sockets", 0)


def test_crash_of_a_server_loses_nothing(
    demo_bundle, speech, recognizer: Recognizer, tmp_path
) -> None:
    """Speech after the last saved state is sent again, in items of the same ids."""
    client = speaker(speech)
    wanted = of_library(recognizer, speech, "eng")
    options = ("--bundle", demo_bundle, "--no-admission", "--session-store", tmp_path)
    with running(*options) as second:
        with running(*options) as first:
            begun = len(client.messages) // 3

            def go_on() -> None:
                while not list(tmp_path.glob("*-0")):
                    time.sleep(0.02)

            client.talk(first, begun, lambda own: bool(own.completed) and go_on() is None)
            shown = {one["item_id"]: one["transcript"] for one in client.events if
                     one["type"] == COMPLETED}  # fmt: skip
            client.talk(first, len(client.messages), has_turns(2))
            first.process.kill()
        client.talk(second, len(client.messages), has_turns(len(wanted)))
        client.check()
        assert client.completed == wanted
        texts = {one["item_id"]: one.get("transcript") for one in client.events if
                 one["type"] == COMPLETED}  # fmt: skip
        assert shown.items() <= texts.items()


def test_session_that_nobody_resumes_ends(alone, speech) -> None:
    client = speaker(speech)
    client.talk(alone, 20, has_events(2))
    alone.wait_metric("mms_sockets", 0)
    assert alone.metric("mms_streams") == 1
    alone.wait_metric("mms_streams", 0)
    status, error = refusal(alone, f"{PATH}&resume={client.created['session']['id']}")
    assert (status, error["code"]) == (404, "session_not_found")


def test_client_that_did_not_ask_cannot_resume(alone) -> None:
    with connect(f"ws://127.0.0.1:{alone.port}{PATH}", compression=None) as connection:
        identity = json.loads(connection.recv(30))["session"]["id"]
        connection.socket.shutdown(2)
    status, error = refusal(alone, f"{PATH}&resume={identity}")
    assert (status, error["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("after", ["event_1", "é", "-1", "event_x_1"])
def test_wrong_place_is_refused(alone, speech, after) -> None:
    client = speaker(speech)
    client.talk(alone, 1, has_events(2))
    status, error = refusal(alone, f"{PATH}&resume={client.created['session']['id']}&after={after}")
    assert (status, error["param"]) == (400, "after")


def test_session_is_its_owners_and_its_routes_alone(demo_bundle, tmp_path) -> None:
    secrets, lines = [], []
    for name in ("one", "two"):
        secret, line = new_key(name, ("transcribe",))
        secrets.append({"Authorization": f"Bearer {secret}"})
        lines.append(line)
    file = tmp_path / "keys"
    file.write_text("\n".join(lines))
    options = ("--bundle", demo_bundle, "--no-admission", "--keys", file)
    with running(*options, env={"MMS_API_KEY": ""}) as server:
        address = f"ws://127.0.0.1:{server.port}{PATH}&resume=new"
        connection = connect(address, additional_headers=secrets[0], compression=None)
        identity = json.loads(connection.recv(30))["session"]["id"]
        connection.socket.shutdown(2)
        server.wait_metric("mms_sockets", 0)
        other = f"/v1/stream?resume={identity.removeprefix('sess_')}"
        for path, headers in ((f"{PATH}&resume={identity}", secrets[1]), (other, secrets[0])):
            status, error = refusal(server, path, additional_headers=headers)
            assert (status, error["code"]) == (404, "session_not_found")


def test_events_that_are_not_kept_are_missed() -> None:
    outbox = Outbox("0" * 32, is_resumable=True)

    async def ignore(_: object) -> None:
        pass

    ids = [outbox.append({"type": "a", "n": number})["event_id"] for number in range(600)]
    asyncio.run(outbox.send_rest(ignore))
    assert [one["n"] for one in outbox.events] == list(range(100, 600))
    outbox.rewind(ids[99])
    with pytest.raises(ApiError, match="not kept"):
        outbox.rewind(ids[98])
