"""Any sequence of messages and events keeps the promises of the realtime protocol."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine.serve.errors import ApiError
from mms_engine.serve.models import Models
from mms_engine.serve.realtime.configuration import DETAILS
from mms_engine.serve.realtime.session import Feed, Finish, Flush, Open, Session
from realtime_messages import (
    COMMITTED,
    COMPLETED,
    DELTA,
    FAILED,
    STARTED,
    STOPPED,
    append,
    endpoint,
    final,
    make_session,
    moved_session,
    partial,
    send,
)


class _Engine:
    """Engine that hears one word in some seconds of audio, a step behind."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent: list[dict[str, Any]] = []
        self._waiting: list[Any] = []
        self._text = ""
        self._seconds = 0.0
        self._count = 0

    def take(self, outputs: list[Any]) -> None:
        for one in outputs:
            if isinstance(one, dict):
                self.sent.append(one)
            elif isinstance(one, Open):
                self._seconds = 0.0
            else:
                self._waiting.append(one)
            if isinstance(one, Finish):
                self.work()

    def work(self, error: ApiError | None = None) -> None:
        """Carry out what waits; with an error, fail."""
        waiting, self._waiting = self._waiting, []
        for one in waiting if error is None else ():
            if isinstance(one, Feed):
                self._seconds += len(one.content) / 48_000
                self._count += 1
                self._hear(self._count % 4)
            else:
                self._end("flush" if isinstance(one, Flush) else "end")
                if isinstance(one, Finish):
                    self.sent += self.session.ended()
        if error is not None and self.session.is_streaming:
            self._text = ""
            self.sent += self.session.ended(error)

    def _hear(self, kind: int) -> None:
        if kind == 0:
            if not self.session.plan.is_manual:
                self._end("pause")
            return
        self._text = f"{self._text} w{self._count}".strip()
        stable = len(self._text) - (kind - 1)
        self.sent += self.session.event(partial(self._text, stable, self._seconds))

    def _end(self, reason: str) -> None:
        if self._text:
            self.sent += self.session.event(final(self._text, max(0.0, self._seconds - 1)))
        self.sent += self.session.event(endpoint(reason, self._seconds))
        self._text = ""


_OFTEN = "append append append work work commit clear idle fail manual vad language"
_OPERATIONS = st.lists(st.sampled_from(_OFTEN.split()), max_size=60)


@given(operations=_OPERATIONS, details=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_sequence_keeps_the_promises(plain_models, operations, details) -> None:
    engine = _run(plain_models, operations, details)
    _check(engine.sent)
    assert engine.session.items.pending == 0
    assert engine.session.items.is_empty


@given(operations=_OPERATIONS, details=st.booleans())
@settings(max_examples=100, deadline=None)
def test_saved_session_goes_on_as_if_nothing_had_been(plain_models, operations, details) -> None:
    """With a save and a restoration between any two operations."""
    moved = _run(plain_models, operations, details, is_moved=True)
    assert moved.sent == _run(plain_models, operations, details).sent


def _run(
    models: Models, operations: list[str], details: bool, *, is_moved: bool = False
) -> _Engine:
    session = make_session(models, {"include": [DETAILS] if details else []})
    engine = _Engine(session)
    codes = itertools.cycle(["en", "fr"])
    for operation in [*operations, "work", "append", "work", "commit", "work", "idle"]:
        if is_moved:
            session = engine.session = moved_session(session)
        if operation == "append":
            engine.take(append(session))
        elif operation in ("commit", "clear"):
            engine.take(send(session, f"input_audio_buffer.{operation}"))
        elif operation == "work":
            engine.work()
        elif operation == "idle":
            engine.take(session.idle())
        elif operation == "fail":
            engine.work(ApiError(503, "the device failed", code="device_error"))
        elif operation == "language":
            own = {"transcription": {"language": next(codes)}}
            engine.take(send(session, "session.update", session={"audio": {"input": own}}))
        else:
            timeout = {"type": "server_vad", "idle_timeout_ms": 3000}
            turns = None if operation == "manual" else timeout
            own = {"turn_detection": turns}
            engine.take(send(session, "session.update", session={"audio": {"input": own}}))
    return engine


def _check(events: list[dict[str, Any]]) -> None:
    assert {one["error"]["code"] for one in events if one["type"] == "error"} <= {
        "input_audio_buffer_commit_empty",
        "device_error",
    }
    texts: dict[str, str] = {}
    ended: dict[str, str] = {}
    committed: list[str | None] = [None]
    started: set[str] = set()
    latest = ""
    for one in events:
        item = one.get("item_id", one.get("item", {}).get("id"))
        if item is None:
            continue
        assert item not in ended, "an event follows the last of its item"
        if one["type"] == DELTA:
            if latest not in (item, ""):
                known = committed[1:]
                before = known[: known.index(item)] if item in known else known
                assert set(before) <= set(ended), "an earlier item is not done"
            latest = item
            texts[item] = texts.get(item, "") + one["delta"]
        elif one["type"] == STARTED:
            started.add(item)
        elif one["type"] == STOPPED:
            started.remove(item)
        elif one["type"] == COMMITTED:
            assert one["previous_item_id"] == committed[-1]
            assert item not in started, "speech has not stopped"
            committed.append(item)
        elif one["type"] == COMPLETED:
            assert one["transcript"] == texts.get(item, "")
            assert one["usage"]["seconds"] >= 0
            ended[item] = one["type"]
        elif one["type"] == FAILED:
            ended[item] = one["type"]
    assert started == set()
    assert list(ended) == committed[1:]
