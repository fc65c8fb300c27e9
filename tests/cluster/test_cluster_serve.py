"""Tests of `mms serve --ray`: two replicas of the server on a cluster."""

import collections
import json
import threading
import time
from pathlib import Path

import numpy as np
import openai
import pytest
from click.testing import CliRunner

from engine_demo import demo_clips
from mms_engine import Recognizer, StreamOptions, read_audio
from mms_engine.asr.streaming import Event, Final, Partial
from mms_engine.cli import main
from mms_engine.cli.stream.remote import RemoteStream
from mms_engine.errors import MmsError
from ray_cluster import API_KEY, replicas, require_ray
from server_process import ServerProcess

_STREAMS = 6
_PIECE_SECONDS = 0.08
_KILL_SECONDS = 5.0
"""Time after the start of the streams; their states are saved every 2 s."""


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=API_KEY, max_retries=0)


def test_recordings_of_all_languages_are_those_of_the_library(
    server: ServerProcess, client: openai.OpenAI, recognizer: Recognizer
) -> None:
    for clip in demo_clips():
        affinity = {"serve_multiplexed_model_id": clip.language}
        found = client.audio.transcriptions.create(
            file=clip.path, model="demo", language=clip.language, extra_headers=affinity
        )
        assert found.text == recognizer.transcribe(clip.path, clip.language).text


def test_keys_of_the_command_hold_on_every_replica(server: ServerProcess) -> None:
    """Although the machines of the cluster do not have its environment."""
    assert [server.get("/v1/models")[0] for _ in range(10)] == [401] * 10


def test_refusals_reach_the_client(server: ServerProcess, client: openai.OpenAI) -> None:
    clip = demo_clips()[0]
    with pytest.raises(openai.BadRequestError) as raised:
        client.audio.transcriptions.create(
            file=clip.path,
            model="demo",
            language="xx-unknown",
            extra_headers={"serve_multiplexed_model_id": "xx-unknown"},
        )
    assert raised.value.code == "unsupported_language"
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.transcriptions.create(file=clip.path, model="other", language="eng")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.InternalServerError) as unsupported:
        client.realtime.client_secrets.create(session={"type": "transcription"})
    assert (unsupported.value.status_code, unsupported.value.code) == (501, "not_supported")
    status, body = server.get("/v1/models", API_KEY)
    assert (status, json.loads(body)["data"][0]["id"]) == (200, "demo")


class _Speaker(RemoteStream):
    """A stream in real time, as `mms stream --server` sends it."""

    def __init__(self, url: str, content: bytes) -> None:
        query = {"language": "eng", "format": "s16le", "sample_rate": "16000"}
        super().__init__(url, API_KEY, query)
        self.resumed = 0
        self.events: list[Event] = []
        self.error: MmsError | None = None
        self._pieces = content
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.run(self._paced(), self.events.extend)
        except MmsError as error:
            self.error = error

    def _paced(self):
        size = round(_PIECE_SECONDS * 16_000) * 2
        begin = time.monotonic()
        for number, start in enumerate(range(0, len(self._pieces), size), 1):
            time.sleep(max(0.0, begin + number * _PIECE_SECONDS - time.monotonic()))
            yield self._pieces[start : start + size]

    def _reconnect(self):
        self.resumed += 1
        return super()._reconnect()


def speech() -> bytes:
    """Return English speech of about 11 s with pauses, s16le at 16 kHz."""
    clips = [read_audio(one.path).samples for one in demo_clips() if one.language == "eng"]
    pause = np.zeros(16_000, np.float32)
    samples = np.concatenate([part for clip in clips for part in (clip, pause)])
    return (np.resize(samples, 11 * 16_000) * 32767).astype("<i2").tobytes()


def finals(events: list[Event]) -> list[str]:
    return [one.transcript.text for one in events if isinstance(one, Final)]


def lost_text(events: list[Event]) -> list[str]:
    """Return stable text that was shown and is not in the transcript of its utterance."""
    lost, shown = [], []
    for event in events:
        if isinstance(event, Partial):
            shown.append(event.stable)
        elif isinstance(event, Final):
            lost += [one for one in shown if not event.transcript.text.startswith(one)]
            shown = []
    return lost


def test_killed_replica_breaks_only_its_own_streams_which_lose_nothing(
    server: ServerProcess, recognizer: Recognizer
) -> None:
    content = speech()
    stream = recognizer.stream("eng", StreamOptions(sample_format="s16le"))
    wanted = finals([*stream.feed(content), *stream.finish()])
    assert len(wanted) >= 3
    victim, other = sorted(replicas(), key=lambda one: one.pid)
    speakers = [_Speaker(server.url, content) for _ in range(_STREAMS)]
    time.sleep(_KILL_SECONDS)
    victim.kill()
    for one in speakers:
        one.thread.join(60)
        assert not one.thread.is_alive()
    assert [one.error for one in speakers] == [None] * _STREAMS
    counts = collections.Counter(one.resumed for one in speakers)
    assert set(counts) == {0, 1}, counts  # those of either replica, and nobody twice
    for one in speakers:
        assert finals(one.events) == wanted
        assert lost_text(one.events) == []
    assert other.is_running()


def test_new_replica_takes_the_place_of_the_killed_one(server: ServerProcess) -> None:
    end = time.monotonic() + 60
    while len(replicas()) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert server.get("/health/ready")[0] == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--replicas", "2"), "need --ray"),
        (("--ray", "--port", "0"), "needs a port"),
        (("--ray", "--wyoming-port", "0"), "has no Wyoming protocol"),
        (("--ray", "--replicas", "3", "--max-replicas", "2"), "must be at least"),
        (("--ray", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1: Connection refused"),
    ],
)
def test_wrong_options_are_one_line(options, message, demo_bundle: Path) -> None:
    require_ray()
    found = CliRunner().invoke(main, ["serve", "--bundle", str(demo_bundle), *options])
    assert found.exit_code in (1, 2)
    assert message in found.output.splitlines()[-1]
