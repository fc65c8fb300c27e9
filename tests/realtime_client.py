"""Realtime sessions over raw sockets, and the text of the library's streams on the same audio."""

import base64
import json
from typing import Any, Self

import numpy as np
import pytest
import soxr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from engine_demo import Clip
from mms_engine import read_audio
from mms_engine.asr.streaming import EndpointOptions, Final, StreamOptions
from server_process import ServerProcess

INTENT = {"intent": "transcription"}
PATH = "/v1/realtime?intent=transcription"
PREFIX = "conversation.item.input_audio_transcription."
DELTA, COMPLETED = PREFIX + "delta", PREFIX + "completed"
TURNS = StreamOptions(
    sample_format="s16le",
    sample_rate=24_000,
    endpoints=EndpointOptions(pause_seconds=0.5, max_seconds=60),
)
"""Options of the library that the default session has."""
MANUAL = {"audio": {"input": {"turn_detection": None, "transcription": {"language": "en"}}}}


def samples_of(clip: Clip, rate: int, silence: float = 2.0) -> np.ndarray:
    """Return a clip and silence at a rate, int16."""
    audio = read_audio(clip.path)
    whole = np.concatenate([audio.samples, np.zeros(int(silence * audio.sample_rate), np.float32)])
    scaled = soxr.resample(whole, audio.sample_rate, rate) * 32767
    return np.clip(scaled, -32768, 32767).astype("<i2")


def pieces(content: bytes, size: int = 4801) -> list[str]:
    """Return content in base64, in pieces that do not end with a sample."""
    return [
        base64.b64encode(content[start : start + size]).decode()
        for start in range(0, len(content), size)
    ]


def texts(events: list[Any]) -> list[str]:
    return [one.transcript.text for one in events if isinstance(one, Final)]


def of_library(recognizer, content: bytes, language: str, options: StreamOptions = TURNS):
    """Return the texts of the utterances that end within some audio."""
    with recognizer.stream(language, options) as stream:
        return texts(stream.feed(content))


class Raw:
    """A session over a raw socket."""

    def __init__(self, server: ServerProcess, path: str = PATH, **options: Any) -> None:
        address = f"ws://127.0.0.1:{server.port}{path}"
        self.socket: ClientConnection = connect(address, compression=None, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: str, /, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def receive(self, seconds: float = 30) -> dict[str, Any]:
        return json.loads(self.socket.recv(seconds))

    def until(self, kind: str) -> list[dict[str, Any]]:
        """Return the events up to one of a kind."""
        events = [self.receive()]
        while events[-1]["type"] != kind:
            assert events[-1]["type"] != "error", events[-1]
            events.append(self.receive())
        return events

    def update(self, **session: Any) -> dict[str, Any]:
        self.send("session.update", session=session)
        return self.until("session.updated")[-1]["session"]

    def append(self, content: bytes, size: int = 4801) -> None:
        for piece in pieces(content, size):
            self.send("input_audio_buffer.append", audio=piece)


def refusal(server: ServerProcess, path: str = PATH, **options: Any) -> tuple[int, dict[str, Any]]:
    """Return the status and the error of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        Raw(server, path, **options)
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]
