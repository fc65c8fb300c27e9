"""Messages of realtime clients, without a server: configuration, audio, and errors."""

import base64

import numpy as np
import pytest

from mms_engine.serve.models import Models
from mms_engine.serve.realtime.session import Feed, Flush, Open
from realtime_messages import (
    MANUAL,
    append,
    commit,
    kinds,
    make_session,
    only_error,
    send,
)


class TestConfiguration:
    def test_first_event_has_the_defaults(self, make) -> None:
        event = make().created()
        assert event["type"] == "session.created"
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

    def test_missing_language_is_told_once(self, plain_models) -> None:
        session = make_session(Models(plain_models.speech))
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
            ('{"type":7}', "invalid_type"),
            ('{"type":null}', "invalid_type"),
            ('{"type":"input_audio_buffer.commit","event_id":7}', "invalid_type"),
            ('{"type":"session.update","session":' + "[" * 100_000, "invalid_json"),
            (
                '{"type":"session.update","session":"' + "a" * 300_000 + '"}',
                "string_above_max_length",
            ),
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

    def test_audio_that_is_never_committed(self, make) -> None:
        session = make(MANUAL)
        append(session)
        session.items.seconds += 7200
        error = only_error(append(session))
        assert error["code"] == "input_audio_buffer_too_long"
        assert kinds(commit(session))[-1] is Flush
        assert kinds(append(session)) == [Feed]

    def test_samples_may_be_cut(self, make) -> None:
        session = make({"audio": {"input": {"format": {"rate": 16000}}}})
        content = np.arange(-500, 500, dtype="<i2").tobytes()
        fed = []
        for piece in (content[:333], content[333:334], content[334:]):
            audio = base64.b64encode(piece).decode()
            fed += send(session, "input_audio_buffer.append", audio=audio)
        feeds = [one.content for one in fed if isinstance(one, Feed)]
        assert [len(one) % 2 for one in feeds] == [0, 0, 0]
        assert b"".join(feeds) == content
        assert session.items.seconds == pytest.approx(1000 / 16000)

    def test_half_a_sample_ends_with_the_buffer(self, make) -> None:
        session = make(MANUAL)
        odd = base64.b64encode(b"\0\0\1").decode()
        send(session, "input_audio_buffer.append", audio=odd)
        commit(session)
        [feed] = send(session, "input_audio_buffer.append", audio=odd)
        assert feed.content == b"\0\0"

    @pytest.mark.parametrize(("kind", "law"), [("audio/pcmu", "mulaw"), ("audio/pcma", "alaw")])
    def test_g711(self, make, kind, law) -> None:
        session = make({"audio": {"input": {"format": {"type": kind}}}})
        audio = base64.b64encode(b"\xff\x00\x80").decode()
        [opened, feed] = send(session, "input_audio_buffer.append", audio=audio)
        assert opened.plan.options.sample_format == law
        assert opened.plan.options.sample_rate == 8000
        assert feed.content == b"\xff\x00\x80"
        assert session.items.seconds == 3 / 8000
