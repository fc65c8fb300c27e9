"""Sessions of the realtime protocol, their messages, and events of the engine by hand."""

import base64
import itertools
import json
from typing import Any

import msgspec

from mms_engine.asr.streaming.events import Endpoint, Final, Partial
from mms_engine.serve.errors import ApiError
from mms_engine.serve.models import Models
from mms_engine.serve.realtime.configuration import Configuration
from mms_engine.serve.realtime.plan import plan
from mms_engine.serve.realtime.session import Resolve, SavedSession, Session
from mms_engine.types import Transcript, Word

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"
COMMITTED = "input_audio_buffer.committed"
ADDED, DONE = "conversation.item.added", "conversation.item.done"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
SECOND = base64.b64encode(bytes(48_000)).decode()
"""A second of 16-bit samples at 24 kHz."""
MANUAL = {"audio": {"input": {"turn_detection": None}}}


def make_session(models: Models, update: Any = None) -> Session:
    """Return a session whose ids are counted."""
    count = itertools.count()
    configuration = Configuration()

    def new_id(prefix: str) -> str:
        return f"{prefix}{next(count)}"

    session = Session(configuration, plan(configuration, models), new_id)
    session.models, session.new_id = models, new_id
    if update is not None:
        send(session, "session.update", session=update)
    return session


def moved_session(session: Session) -> Session:
    """Return a session made from the saved state of another."""
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(session.save()), type=SavedSession)

    def new_id(prefix: str) -> str:
        return session.id if prefix == "sess" else session.new_id(prefix)

    found = plan(saved.configuration, session.models)
    moved = Session(saved.configuration, found, new_id)
    moved.models, moved.new_id = session.models, session.new_id
    moved.restore(saved)
    return moved


def send(session: Session, kind: str, /, **fields: Any) -> list[Any]:
    outputs = session.receive(json.dumps({"type": kind, **fields}))
    return [own for one in outputs for own in _settled(session, one)]


def _settled(session: Session, output: Any) -> list[Any]:
    """Carry out a request to resolve a configuration."""
    if not isinstance(output, Resolve):
        return [output]
    try:
        found = plan(output.configuration, session.models)
    except ApiError as error:
        found = error
    return session.resolved(output, found)


def append(session: Session) -> list[Any]:
    return send(session, "input_audio_buffer.append", audio=SECOND)


def commit(session: Session) -> list[Any]:
    return send(session, "input_audio_buffer.commit")


def words_of(text: str, start: float) -> tuple[Word, ...]:
    return tuple(
        Word(word, start + index, start + index + 0.5, 0.9)
        for index, word in enumerate(text.split())
    )


def partial(text: str, stable: int | None = None, start: float = 1.0) -> Partial:
    stable = len(text) if stable is None else stable
    return Partial(text, words_of(text, start), stable, 0.0, 0.0)


def final(text: str, start: float = 1.0, language: str = "eng") -> Final:
    return Final(Transcript(text, language, words_of(text, start), 1.0, 0.9), start, 0.0, 0.0)


def endpoint(reason: str = "pause", at: float = 3.0) -> Endpoint:
    return Endpoint(reason, at, 0.0, 0.0)


def play(session: Session, *events: Any) -> list[dict[str, Any]]:
    return [sent for event in events for sent in session.event(event)]


def kinds(events: list[Any]) -> list[Any]:
    return [one["type"] if isinstance(one, dict) else type(one) for one in events]


def only_error(outputs: list[Any]) -> dict[str, Any]:
    assert kinds(outputs) == ["error"]
    return outputs[0]["error"]
