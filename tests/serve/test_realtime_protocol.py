"""Protocol of realtime sessions without a server: messages and events of the engine by hand."""

import base64
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine import Identifier
from mms_engine.asr.streaming.events import Endpoint, Final, LanguageChange, Partial
from mms_engine.serve.errors import ApiError
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.realtime.configuration import DETAILS, LOGPROBS, Configuration
from mms_engine.serve.realtime.plan import plan
from mms_engine.serve.realtime.session import Feed, Finish, Flush, Open, Session
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


@pytest.fixture(scope="module")
def models(recognizer, lid_bundle) -> Models:
    """The demo model and an identifier; recordings are not transcribed here."""
    with Identifier.open(lid_bundle, threads=1) as identifier:
        yield Models([SpeechModel("demo", recognizer, None, None)], identifier)


@pytest.fixture(scope="module")
def make(models):
    def make(update: Any = None, *, identifier: bool = True) -> Session:
        own = Models(models.speech, models.identifier if identifier else None, aliases=_ALIASES)
        count = itertools.count()
        session = Session(
            Configuration(), lambda one: plan(one, own), lambda prefix: f"{prefix}{next(count)}"
        )
        if update is not None:
            send(session, "session.update", session=update)
        return session

    return make


_ALIASES = {"whisper-1": "demo", "gpt-live-transcribe": "demo"}


def send(session: Session, kind: str, /, **fields: Any) -> list[Any]:
    return session.receive(json.dumps({"type": kind, **fields}))


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


class TestConfiguration:
    def test_first_event_has_the_defaults(self, make) -> None:
        event = make().created()
        assert (event["type"], event["event_id"]) == ("session.created", "event1")
        session = event["session"]
        assert session["type"] == "transcription"
        assert session["object"] == "realtime.transcription_session"
        found = session["audio"]["input"]
        assert found["format"] == {"type": "audio/pcm", "rate": 24000}
        assert found["turn_detection"] == {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
        }
        assert session["x_mms"]["language"] == "auto"

    def test_merge_is_deep(self, make) -> None:
        session = make()
        for own in ({"threshold": 0.8}, {"silence_duration_ms": 700}):
            [event] = send(
                session, "session.update", session={"audio": {"input": {"turn_detection": own}}}
            )
        assert event["session"]["audio"]["input"]["turn_detection"] == {
            "type": "server_vad",
            "threshold": 0.8,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 700,
        }
        assert session.plan.options.endpoints.pause_seconds == 0.7

    def test_null_clears_and_absent_keeps(self, make) -> None:
        session = make(
            {
                "audio": {
                    "input": {
                        "transcription": {"language": "en", "delay": "high", "prompt": "mary roe"},
                        "turn_detection": {"silence_duration_ms": 900, "idle_timeout_ms": 5000},
                        "noise_reduction": {"type": "near_field"},
                    }
                }
            }
        )
        assert (session.plan.language, session.plan.options.latency) == ("eng", "accurate")
        assert session.plan.options.hotwords == ("mary roe",)
        send(
            session,
            "session.update",
            session={
                "audio": {
                    "input": {
                        "transcription": {"prompt": None, "language": None},
                        "turn_detection": {"silence_duration_ms": None},
                        "noise_reduction": None,
                    }
                }
            },
        )
        assert (session.plan.language, session.plan.options.latency) == ("auto", "accurate")
        assert session.plan.options.hotwords is None
        assert session.plan.options.endpoints.pause_seconds == 0.5
        assert session.plan.idle_seconds == 5
        assert session.wire()["audio"]["input"]["noise_reduction"] is None

    def test_another_type_replaces(self, make) -> None:
        session = make({"audio": {"input": {"format": {"rate": 16000}}}})
        update = {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "semantic_vad"}}
        [event] = send(session, "session.update", session={"audio": {"input": update}})
        found = event["session"]["audio"]["input"]
        assert found["format"] == {"type": "audio/pcmu"}
        assert found["turn_detection"] == {"type": "semantic_vad", "eagerness": "auto"}
        assert session.plan.options.endpoints.pause_seconds == 1.2

    def test_turn_detection_off_and_on_again(self, make) -> None:
        session = make(MANUAL)
        assert session.plan.is_manual
        assert session.plan.options.endpoints is None
        error = only_error(
            send(
                session,
                "session.update",
                session={"audio": {"input": {"turn_detection": {"threshold": 0.8}}}},
            )
        )
        assert error["param"] == "session.audio.input.turn_detection.type"
        send(
            session,
            "session.update",
            session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}},
        )
        assert not session.plan.is_manual

    def test_models_without_turn_detection_at_openai(self, make) -> None:
        session = make({"audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}}})
        assert session.plan.is_manual
        assert session.wire()["audio"]["input"]["turn_detection"] is None
        turns = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        send(session, "session.update", session=turns)
        assert not session.plan.is_manual

    @pytest.mark.parametrize(
        ("given", "language"),
        [
            ({"language": "en"}, "eng"),
            ({"language": "en-US"}, "eng"),
            ({"language": "English"}, "eng"),
            ({"language": "eng"}, "eng"),
            ({"language": ""}, "auto"),
            ({"language": "auto"}, "auto"),
            ({"languages": ["en", "fr"]}, "auto:eng,fra"),
            ({"languages": ["fr"]}, "fra"),
            ({"languages": []}, "auto"),
            ({}, "auto"),
        ],
    )
    def test_languages(self, make, given, language) -> None:
        session = make({"audio": {"input": {"transcription": given}}})
        assert session.plan.language == language

    def test_language_and_languages_exclude_each_other(self, make) -> None:
        session = make({"audio": {"input": {"transcription": {"language": "en"}}}})
        for own, wanted in (
            ({"languages": ["fr", "es"]}, "auto:fra,spa"),
            ({"language": "it"}, "ita"),
        ):
            update = {"audio": {"input": {"transcription": own}}}
            send(session, "session.update", session=update)
            assert session.plan.language == wanted
        assert "languages" not in session.wire()["audio"]["input"]["transcription"]

    @pytest.mark.parametrize(
        ("update", "param", "code"),
        [
            (3, "session", "invalid_type"),
            ({"type": "realtime"}, "session.type", "invalid_value"),
            ({"input_audio_format": "pcm16"}, "session.input_audio_format", "beta_api_shape"),
            ({"audio": []}, "session.audio", "invalid_value"),
            ({"include": ["everything"]}, "session.include[0]", "invalid_value"),
            ({"format": {"rate": 7000}}, "format.rate", "invalid_value"),
            ({"format": {"type": "audio/opus"}}, "format.type", "invalid_value"),
            ({"transcription": {"language": "xx-yy"}}, "transcription.language", None),
            ({"transcription": {"languages": ["en", "?"]}}, "transcription.languages", None),
            ({"transcription": {"model": "gpt-9"}}, "transcription.model", "model_not_found"),
            ({"transcription": {"delay": "never"}}, "transcription.delay", "invalid_value"),
            ({"transcription": {"keywords": "mary"}}, "transcription.keywords", "invalid_value"),
            ({"transcription": {"keywords": ["a" * 201]}}, "transcription.keywords", None),
            ({"turn_detection": {"threshold": 1.5}}, "turn_detection.threshold", "invalid_value"),
            (
                {"turn_detection": {"silence_duration_ms": 0}},
                "turn_detection.silence_duration_ms",
                None,
            ),
            ({"turn_detection": {"type": "psychic"}}, "turn_detection.type", "invalid_value"),
            ({"noise_reduction": {"type": "loud"}}, "noise_reduction.type", "invalid_value"),
        ],
    )
    def test_errors_name_the_field_and_change_nothing(self, make, update, param, code) -> None:
        session = make({"audio": {"input": {"transcription": {"language": "en"}}}})
        before = session.wire()
        if isinstance(update, dict) and not {"type", "audio", "include"} & set(update):
            is_input = not any(name.startswith("input_audio_") for name in update)
            update = {"audio": {"input": update}} if is_input else update
        error = only_error(send(session, "session.update", session=update, event_id="mine"))
        assert error["param"] in (param, f"session.audio.input.{param}")
        assert error["event_id"] == "mine"
        assert error["type"] in ("invalid_request_error", "not_found_error")
        if code is not None:
            assert error["code"] == code
        assert session.wire() == before

    def test_unknown_fields_are_no_error(self, make) -> None:
        update = {"audio": {"input": {"gain": 3, "turn_detection": {"eagerness": "low"}}}, "x": 1}
        [event] = send(make(), "session.update", session=update)
        [warning] = event["session"]["x_mms"]["warnings"]
        assert warning == (
            "unknown and without effect: session.audio.input.gain, "
            "session.audio.input.turn_detection.eagerness, session.x"
        )

    def test_missing_language_is_told_once(self, make) -> None:
        session = make(identifier=False)
        assert session.wire()["x_mms"]["language"] is None
        error = only_error(append(session))
        assert error["code"] == "missing_language"
        assert append(session) == []
        update = {"audio": {"input": {"transcription": {"language": "en"}}}}
        send(session, "session.update", session=update)
        assert kinds(append(session)) == [Open, Feed]
        update = {"audio": {"input": {"transcription": {"languages": ["en", "fr"]}}}}
        error = only_error(send(session, "session.update", session=update))
        assert error["param"] == "session.audio.input.transcription.languages"


class TestMessages:
    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ("", "invalid_json"),
            ("{", "invalid_json"),
            ("[]", "invalid_json"),
            ('{"type":"session.update","session":{"x":NaN}}', "invalid_json"),
            ("[" * 100_000, "invalid_json"),
            ('{"a":' * 100_000, "invalid_json"),
            (b"\0\0", "invalid_frame"),
            ("{}", "missing_required_parameter"),
            ('{"type":7}', "missing_required_parameter"),
            ('{"type":"response.create"}', "invalid_value"),
            ('{"type":"transcription_session.update"}', "beta_api_shape"),
            ('{"type":"session.update"}', "missing_required_parameter"),
            ('{"type":"input_audio_buffer.append"}', "missing_required_parameter"),
            ('{"type":"input_audio_buffer.append","audio":3}', "invalid_type"),
            ('{"type":"input_audio_buffer.append","audio":"AAA"}', "invalid_value"),
            ('{"type":"input_audio_buffer.append","audio":"AA==\\n"}', "invalid_value"),
            ('{"type":"input_audio_buffer.append","audio":"AA-_"}', "invalid_value"),
            ('{"type":"input_audio_buffer.append","audio":"é"}', "invalid_value"),
        ],
    )
    def test_malformed(self, make, message, code) -> None:
        session = make()
        assert only_error(session.receive(message))["code"] == code
        assert kinds(append(session)) == [Open, Feed]

    def test_audio_over_the_limit(self, make) -> None:
        session = make()
        audio = "A" * ((15 << 20) // 3 * 4 + 4)
        error = only_error(send(session, "input_audio_buffer.append", audio=audio))
        assert error["code"] == "string_above_max_length"

    def test_samples_may_be_cut(self, make) -> None:
        session = make({"audio": {"input": {"format": {"rate": 16000}}}})
        content = np.arange(-500, 500, dtype="<i2").tobytes()
        fed = []
        for piece in (content[:333], content[333:334], content[334:]):
            audio = base64.b64encode(piece).decode()
            fed += send(session, "input_audio_buffer.append", audio=audio)
        feeds = [one for one in fed if isinstance(one, Feed)]
        assert {one.rate for one in feeds} == {16000}
        samples = np.concatenate([one.samples for one in feeds])
        assert (samples * 2**15 == np.arange(-500, 500)).all()
        assert session.items.seconds == pytest.approx(1000 / 16000)

    def test_half_a_sample_ends_with_the_buffer(self, make) -> None:
        session = make(MANUAL)
        odd = base64.b64encode(b"\0\0\1").decode()
        send(session, "input_audio_buffer.append", audio=odd)
        commit(session)
        [feed] = send(session, "input_audio_buffer.append", audio=odd)
        assert feed.samples.tolist() == [0.0]

    def test_mu_law(self, make) -> None:
        session = make({"audio": {"input": {"format": {"type": "audio/pcmu"}}}})
        audio = base64.b64encode(b"\xff\x00\x80").decode()
        [_, feed] = send(session, "input_audio_buffer.append", audio=audio)
        assert feed.rate == 8000
        assert (feed.samples * 2**15).tolist() == [0, -32124, 32124]


class TestTurnDetection:
    def test_a_turn(self, make) -> None:
        session = make()
        assert kinds(append(session)) == [Open, Feed]
        assert kinds(append(session)) == [Feed]
        first = play(session, partial("mary"), partial("mary ro"))
        assert kinds(first) == [STARTED, DELTA, DELTA]
        assert (first[0]["audio_start_ms"], first[0]["item_id"]) == (700, "item1")
        assert [one["delta"] for one in first[1:]] == ["mary", " ro"]
        last = play(session, final("mary roe"), endpoint())
        assert kinds(last) == [STOPPED, COMMITTED, ADDED, DELTA, DONE, COMPLETED]
        assert last[0]["audio_end_ms"] == 3000
        assert (last[1]["item_id"], last[1]["previous_item_id"]) == ("item1", None)
        assert last[2]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        assert last[3]["delta"] == "e"
        assert last[4]["item"]["content"] == [{"type": "input_audio", "transcript": "mary roe"}]
        assert last[5]["transcript"] == "mary roe"
        assert last[5]["usage"] == {"type": "duration", "seconds": 2.3}
        assert last[5]["languages"] == [{"code": "eng"}]
        assert "x_mms" not in last[5]
        assert "logprobs" not in last[5]

    def test_next_turn_follows(self, make) -> None:
        session = make()
        append(session)
        first = play(session, final("mary"), endpoint(at=2.0))
        second = play(session, partial("roe", start=2.1), final("roe", 2.1), endpoint(at=5.0))
        assert kinds(second)[:2] == [STARTED, DELTA]
        assert second[0]["audio_start_ms"] == 2000  # no earlier than the end of the first
        committed = [one for one in first + second if one["type"] == COMMITTED]
        assert committed[1]["previous_item_id"] == committed[0]["item_id"]
        assert len({one["event_id"] for one in first + second}) == len(first + second)

    def test_silence_makes_no_item(self, make) -> None:
        session = make()
        append(session)
        assert play(session, endpoint("silence"), partial("", 0)) == []

    def test_commit_without_speech_is_no_error(self, make) -> None:
        session = make()
        assert commit(session) == []
        append(session)
        assert kinds(commit(session)) == [Flush]
        assert play(session, endpoint("flush")) == []
        assert session.items.pending == 0

    def test_commit_ends_the_running_turn(self, make) -> None:
        session = make()
        append(session)
        play(session, partial("mary"))
        assert kinds(commit(session)) == [Flush]
        events = play(session, final("mary roe"), endpoint("flush"))
        assert kinds(events) == [STOPPED, COMMITTED, ADDED, DELTA, DONE, COMPLETED]

    def test_clear_drops_the_running_turn(self, make) -> None:
        session = make()
        append(session)
        play(session, partial("mary"))
        outputs = send(session, "input_audio_buffer.clear")
        assert kinds(outputs) == [STOPPED, "input_audio_buffer.cleared", Flush]
        assert play(session, partial("mary roe"), final("mary roe"), endpoint("flush")) == []
        events = play(session, final("again"), endpoint())
        assert events[0]["type"] == STARTED
        assert events[-1]["transcript"] == "again"

    def test_clear_without_audio(self, make) -> None:
        session = make()
        assert kinds(send(session, "input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]

    def test_vanished_text_completes_empty(self, make) -> None:
        session = make()
        append(session)
        play(session, partial("m", 0))
        events = play(session, endpoint("silence"))
        assert kinds(events) == [STOPPED, COMMITTED, ADDED, DONE, COMPLETED]
        assert events[-1]["transcript"] == ""
        assert events[-1]["languages"] == []

    def test_idle_time(self, make) -> None:
        session = make({"audio": {"input": {"turn_detection": {"idle_timeout_ms": 2000}}}})
        append(session)
        outputs = append(session)
        assert kinds(outputs) == [Feed, "input_audio_buffer.timeout_triggered", Flush]
        assert (outputs[1]["audio_start_ms"], outputs[1]["audio_end_ms"]) == (0, 2000)
        events = play(session, endpoint("flush", at=2.0))
        assert kinds(events) == [COMMITTED, ADDED, DONE, COMPLETED]
        assert events[0]["item_id"] == outputs[1]["item_id"]
        assert kinds(append(session)) == [Feed]
        assert kinds(append(session))[1:] == ["input_audio_buffer.timeout_triggered", Flush]

    def test_speech_before_the_idle_time_is_its_item(self, make) -> None:
        session = make({"audio": {"input": {"turn_detection": {"idle_timeout_ms": 1000}}}})
        trigger = append(session)[2]
        events = play(session, final("mary"), endpoint("flush", at=1.0))
        assert events[0]["type"] == STARTED
        assert {one["item_id"] for one in events if "item_id" in one} == {trigger["item_id"]}

    def test_speech_puts_the_idle_time_off(self, make) -> None:
        session = make({"audio": {"input": {"turn_detection": {"idle_timeout_ms": 2000}}}})
        append(session)
        play(session, partial("mary"))
        assert kinds(append(session)) == [Feed]
        play(session, final("mary"), endpoint(at=1.5))
        assert kinds(append(session)) == [Feed]
        assert kinds(append(session))[1:] == ["input_audio_buffer.timeout_triggered", Flush]


class TestManualCommit:
    def test_deltas_precede_the_commit(self, make) -> None:
        session = make(MANUAL)
        append(session)
        append(session)
        events = play(session, partial("mary"))
        assert kinds(events) == [DELTA]
        outputs = commit(session)
        assert kinds(outputs) == [COMMITTED, ADDED, Flush]
        assert outputs[0]["item_id"] == events[0]["item_id"]
        events = play(session, final("mary roe"), endpoint("flush", 2.0))
        assert kinds(events) == [DELTA, DONE, COMPLETED]
        assert events[-1]["usage"]["seconds"] == 2.0

    def test_empty_buffer(self, make) -> None:
        session = make(MANUAL)
        assert only_error(commit(session))["code"] == "input_audio_buffer_commit_empty"
        append(session)
        assert kinds(commit(session))[-1] is Flush
        assert only_error(commit(session))["code"] == "input_audio_buffer_commit_empty"

    def test_silence_completes_empty(self, make) -> None:
        session = make(MANUAL)
        append(session)
        commit(session)
        events = play(session, endpoint("flush", 1.0))
        assert kinds(events) == [DONE, COMPLETED]
        assert events[-1]["transcript"] == ""

    def test_utterances_of_an_item_are_joined(self, make) -> None:
        session = make({**MANUAL, "include": [LOGPROBS, DETAILS]})
        append(session)
        commit_events = [
            *play(session, final("mary"), endpoint("length"), partial("ro", start=5.0)),
            *commit(session),
            *play(session, final("roe", 5.0, "fra"), endpoint("flush", 1.0)),
        ]
        deltas = [one for one in commit_events if isinstance(one, dict) and one["type"] == DELTA]
        assert [one["delta"] for one in deltas] == ["mary", " ro", "e"]
        completed = commit_events[-1]
        assert completed["transcript"] == "mary roe"
        assert completed["languages"] == [{"code": "eng"}, {"code": "fra"}]
        assert [one["token"] for one in completed["logprobs"]] == ["mary", " roe"]
        assert [one["text"] for one in completed["x_mms"]["words"]] == ["mary", "roe"]

    def test_two_commits_before_the_first_is_done(self, make) -> None:
        session = make(MANUAL)
        append(session)
        first = commit(session)[0]["item_id"]
        append(session)
        outputs = commit(session)
        assert outputs[0]["previous_item_id"] == first
        events = play(session, final("one"), endpoint("flush", 1.0))
        events += play(session, final("two"), endpoint("flush", 2.0))
        done = [one for one in events if one["type"] == COMPLETED]
        assert [one["transcript"] for one in done] == ["one", "two"]
        assert [one["item_id"] for one in done] == [first, outputs[0]["item_id"]]

    def test_clear(self, make) -> None:
        session = make(MANUAL)
        append(session)
        play(session, partial("mary"))
        assert kinds(send(session, "input_audio_buffer.clear"))[-1] is Flush
        assert only_error(commit(session))["code"] == "input_audio_buffer_commit_empty"
        append(session)
        commit(session)
        assert play(session, final("mary"), endpoint("flush")) == []
        assert play(session, final("roe"), endpoint("flush"))[-1]["transcript"] == "roe"

    def test_commit_after_the_stream_was_released(self, make) -> None:
        session = make(MANUAL)
        append(session)
        assert kinds(session.idle()) == [Finish]
        events = play(session, final("mary"), endpoint("end", 1.0)) + session.ended()
        assert kinds(events) == [DELTA]
        outputs = commit(session)
        assert kinds(outputs) == [COMMITTED, ADDED, DONE, COMPLETED]
        assert outputs[-1]["transcript"] == "mary"
        assert kinds(append(session)) == [Open, Feed]


class TestLanguages:
    def test_unstable_text_is_not_sent(self, make) -> None:
        session = make()
        append(session)
        events = play(session, partial("mary roe", 0))
        assert kinds(events) == [STARTED]
        change = LanguageChange("fra", "fra", 0.9, 0.0, 0.0, 0.0)
        events = play(session, change, partial("marie", 5), final("marie", 1.0, "fra"), endpoint())
        assert [one["delta"] for one in events if one["type"] == DELTA] == ["marie"]
        assert events[-1]["languages"] == [{"code": "fra"}]

    def test_language_without_an_adapter(self, make) -> None:
        session = make()
        append(session)
        play(session, partial("mary", 0))
        events = play(session, LanguageChange(None, "xyz", 0.9, 2.0, 0.0, 0.0))
        assert kinds(events) == [STOPPED, COMMITTED, ADDED, DONE, COMPLETED]
        assert (events[-1]["transcript"], events[-1]["languages"]) == ("", [])

    def test_a_change_ends_the_turn(self, make) -> None:
        session = make()
        append(session)
        change = LanguageChange("fra", "fra", 0.9, 3.0, 0.0, 0.0)
        events = play(session, final("mary"), endpoint("language"), change, partial("roi"))
        assert kinds(events)[-3:] == [COMPLETED, STARTED, DELTA]

    def test_given_language_is_not_reported(self, make) -> None:
        session = make({"audio": {"input": {"transcription": {"language": "en"}}}})
        append(session)
        assert "languages" not in play(session, final("mary"), endpoint())[-1]


class TestDetails:
    def test_unstable_text_and_words(self, make) -> None:
        session = make({"include": [DETAILS]})
        append(session)
        assert play(session, partial("m", 0)) == []  # it may vanish, and starts no turn
        events = play(session, partial("mary ro", 5))
        assert kinds(events) == [STARTED, DELTA]
        assert events[1]["delta"] == "mary "
        assert events[1]["x_mms"]["unstable"] == "ro"
        assert [one["text"] for one in events[1]["x_mms"]["words"]] == ["mary", "ro"]
        [event] = play(session, partial("mary roe", 5))
        assert (event["delta"], event["x_mms"]["unstable"]) == ("", "roe")
        assert [one["text"] for one in event["x_mms"]["words"]] == ["roe"]
        assert play(session, partial("mary roe", 5)) == []
        last = play(session, final("mary roe"), endpoint())
        assert last[3]["x_mms"]["unstable"] == ""
        assert last[-1]["x_mms"]["start"] == 0.7
        assert [one["confidence"] for one in last[-1]["x_mms"]["words"]] == [0.9, 0.9]

    def test_times_count_from_the_start_of_the_session(self, make) -> None:
        session = make({"include": [DETAILS]})
        append(session)
        session.idle()
        session.ended()
        append(session)
        events = play(session, final("mary"), endpoint())
        assert events[0]["audio_start_ms"] == 1700
        assert events[-1]["x_mms"]["words"][0]["start"] == 2.0


class TestChangesAndFailures:
    def test_equal_configuration_keeps_the_stream(self, make) -> None:
        update = {"audio": {"input": {"transcription": {"language": "en"}}}}
        session = make(update)
        append(session)
        assert kinds(send(session, "session.update", session=update)) == ["session.updated"]
        assert kinds(append(session)) == [Feed]

    def test_another_format_keeps_the_stream(self, make) -> None:
        session = make()
        append(session)
        update = {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}
        assert kinds(send(session, "session.update", session=update)) == ["session.updated"]
        assert append(session)[0].rate == 8000

    def test_change_during_speech_ends_the_turn(self, make) -> None:
        session = make()
        append(session)
        play(session, partial("mary"))
        update = {"audio": {"input": {"transcription": {"language": "fr"}}}}
        assert kinds(send(session, "session.update", session=update)) == [Finish, "session.updated"]
        events = play(session, final("mary roe"), endpoint("end")) + session.ended()
        assert kinds(events) == [STOPPED, COMMITTED, ADDED, DELTA, DONE, COMPLETED]
        [opened, _] = append(session)
        assert opened.plan.language == "fra"

    def test_change_in_manual_mode_continues_the_item(self, make) -> None:
        session = make(MANUAL)
        append(session)
        update = {"audio": {"input": {"transcription": {"language": "fr"}}}}
        assert kinds(send(session, "session.update", session=update)) == [Finish, "session.updated"]
        play(session, final("mary"), endpoint("end"))
        session.ended()
        append(session)
        commit(session)
        events = play(session, final("roi"), endpoint("flush"))
        assert events[-1]["transcript"] == "mary roi"

    def test_turn_detection_commits_what_was_appended(self, make) -> None:
        session = make(MANUAL)
        append(session)
        turns = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        outputs = send(session, "session.update", session=turns)
        assert kinds(outputs) == [COMMITTED, ADDED, Flush, Finish, "session.updated"]
        events = play(session, final("mary"), endpoint("flush"), endpoint("end")) + session.ended()
        assert kinds(events) == [DELTA, DONE, COMPLETED]

    def test_failure_during_a_turn(self, make) -> None:
        session = make()
        append(session)
        play(session, partial("mary"))
        error = ApiError(503, "the device failed", code="device_error")
        events = session.ended(error)
        assert kinds(events) == [STOPPED, COMMITTED, ADDED, DONE, FAILED]
        assert events[-1]["error"]["code"] == "device_error"
        assert events[-2]["item"]["status"] == "incomplete"
        assert kinds(append(session)) == [Open, Feed]

    def test_failure_without_a_turn(self, make) -> None:
        session = make()
        append(session)
        error = only_error(session.ended(ApiError(503, "the device failed", code="device_error")))
        assert (error["type"], error["code"]) == ("server_error", "device_error")

    def test_failure_before_and_after_a_commit(self, make) -> None:
        session = make(MANUAL)
        append(session)
        commit(session)
        append(session)
        error = ApiError(503, "the device failed", code="device_error")
        assert kinds(session.ended(error)) == [DONE, FAILED]
        append(session)
        commit(session)
        assert kinds(play(session, final("roe"), endpoint("flush"))) == [DELTA, DONE, FAILED]

    def test_refused_stream(self, make) -> None:
        session = make(MANUAL)
        append(session)
        error = ApiError(429, "no room", code="overloaded")
        assert session.refused(error)[0]["error"]["type"] == "rate_limit_error"
        assert append(session) == []
        assert only_error(commit(session))["code"] == "input_audio_buffer_commit_empty"
        send(session, "session.update", session={})
        assert kinds(append(session)) == [Open, Feed]


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
                self._seconds += len(one.samples) / one.rate
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
def test_any_sequence_keeps_the_promises(make, operations, details) -> None:
    session = make({"include": [DETAILS] if details else []})
    engine = _Engine(session)
    codes = itertools.cycle(["en", "fr"])
    for operation in [*operations, "work", "append", "work", "commit", "work", "idle"]:
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
            turns = None if operation == "manual" else {"type": "server_vad"}
            own = {"turn_detection": turns}
            engine.take(send(session, "session.update", session={"audio": {"input": own}}))
    _check(engine.sent)
    assert session.items.pending == 0
    assert session.items.is_empty


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
