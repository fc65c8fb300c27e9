"""Items of realtime sessions, without a server: events of the engine by hand."""

from mms_engine.asr.streaming.events import LanguageChange
from mms_engine.serve.errors import ApiError
from mms_engine.serve.realtime.configuration import DETAILS, LOGPROBS
from mms_engine.serve.realtime.session import Feed, Finish, Flush, Open
from realtime_messages import (
    ADDED,
    COMMITTED,
    COMPLETED,
    DELTA,
    DONE,
    FAILED,
    MANUAL,
    STARTED,
    STOPPED,
    append,
    commit,
    endpoint,
    final,
    kinds,
    only_error,
    partial,
    play,
    send,
)


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
        assert kinds(outputs) == ["input_audio_buffer.timeout_triggered", Feed, Flush]
        assert (outputs[0]["audio_start_ms"], outputs[0]["audio_end_ms"]) == (0, 2000)
        events = play(session, endpoint("flush", at=2.0))
        assert kinds(events) == [COMMITTED, ADDED, DONE, COMPLETED]
        assert events[0]["item_id"] == outputs[0]["item_id"]
        assert kinds(append(session)) == [Feed]
        assert kinds(append(session)) == ["input_audio_buffer.timeout_triggered", Feed, Flush]

    def test_speech_before_the_idle_time_is_its_item(self, make) -> None:
        session = make({"audio": {"input": {"turn_detection": {"idle_timeout_ms": 1000}}}})
        trigger = append(session)[1]
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
        assert kinds(append(session)) == ["input_audio_buffer.timeout_triggered", Feed, Flush]


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

    def test_failure_after_the_item_of_an_idle_time(self, make) -> None:
        session = make({"audio": {"input": {"turn_detection": {"idle_timeout_ms": 1000}}}})
        append(session)
        play(session, final("mary"), endpoint())
        error = ApiError(503, "the device failed", code="device_error")
        assert only_error(session.ended(error))["code"] == "device_error"

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
        assert session.items.pending == 0
        assert append(session) == []
        assert only_error(commit(session))["code"] == "input_audio_buffer_commit_empty"
        send(session, "session.update", session={})
        assert kinds(append(session)) == [Open, Feed]
