"""Parts of the Wyoming protocol that need no server: frames, requests, order, audio, SSML, text."""

import asyncio
import contextlib
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioChunkConverter, AudioStart, AudioStop
from wyoming.event import Event, Eventable, async_read_event
from wyoming.info import Describe, SelectProgram
from wyoming.ping import Ping
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from mms_engine.asr.streaming import Endpoint, Final, LanguageChange, Partial
from mms_engine.serve.errors import ApiError
from mms_engine.serve.wyoming import frames, requests
from mms_engine.serve.wyoming.frames import EventReader, event_bytes
from mms_engine.serve.wyoming.pcm import ChunkReader
from mms_engine.serve.wyoming.recognition import UtteranceText
from mms_engine.serve.wyoming.requests import Dialogue, VoiceChoice, parse_request
from mms_engine.serve.wyoming.ssml import SsmlReader
from mms_engine.types import Transcript

FORMAT = {"rate": 16_000, "width": 2, "channels": 1}


def read_all(content: bytes, *, ends: bool = True, seconds: float = 0.2) -> list[Event]:
    """Return the events of what a client sends."""

    async def run() -> list[Event]:
        stream = asyncio.StreamReader(limit=frames.MAX_HEADER_BYTES)
        stream.feed_data(content)
        if ends:
            stream.feed_eof()
        reader = EventReader(stream, seconds)
        found = []
        while (event := await reader.read(seconds)) is not None:
            found.append(event)
        return found

    return asyncio.run(run())


def header(**fields: object) -> bytes:
    return json.dumps({"type": "ping", **fields}).encode() + b"\n"


def test_events_are_read_as_the_library_reads_them() -> None:
    sent = [
        Ping("Grüße").event(),
        AudioChunk(**FORMAT, audio=bytes(range(256)) * 9).event(),
        AudioStop().event(),
        Event("x", {"nested": [{"a": [1.5, None, True]}]}, b"\n\n"),
    ]
    content = b"".join(map(event_bytes, sent))
    assert read_all(content) == sent

    async def by_library() -> list[Event | None]:
        stream = asyncio.StreamReader()
        stream.feed_data(content)
        stream.feed_eof()
        return [await async_read_event(stream) for _ in range(5)]

    assert asyncio.run(by_library()) == [*sent, None]


def test_data_behind_the_header_takes_precedence() -> None:
    content = header(data={"text": "a", "more": 1}, data_length=12) + b'{"text":"b"}'
    assert read_all(content) == [Event("ping", {"text": "b", "more": 1})]


def test_connection_that_ends_inside_an_event_has_no_more() -> None:
    whole = event_bytes(AudioChunk(**FORMAT, audio=b"12345678").event())
    for length in range(len(whole)):
        assert read_all(whole[:length]) == []


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"\n", 400, "event cannot be read"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "event cannot be read"),
        (b"\xff\xfe{}\n", 400, "event cannot be read"),
        (b'{"type": "\xff"}\n', 400, "event cannot be read"),
        (b"[]\n", 400, "event cannot be read"),
        (b"{}\n", 400, "type"),
        (b'{"type": 1}\n', 400, "type"),
        (b'{"type": "ping", "data": []}\n', 400, "data"),
        (b'{"type": "ping", "data": {"a": ' + b"[" * 50_000 + b"\n", 400, "event cannot be read"),
        (header(data_length=-1), 400, "data_length"),
        (header(payload_length=1.5), 400, "payload_length"),
        (header(payload_length="1"), 400, "payload_length"),
        (header(data_length=2) + b"[]", 400, "event cannot be read"),
        (header(data_length=4) + b"nope", 400, "event cannot be read"),
        (header(data_length=frames.MAX_DATA_BYTES + 1), 413, "262145 bytes, more than 262144"),
        (header(payload_length=1 << 60), 413, "1152921504606846976 bytes, more than 1048576"),
        (header(payload_length=10**30), 413, "more than 1048576 bytes"),
        (b"{" + b" " * (frames.MAX_HEADER_BYTES + 1), 413, "longer than 65536 bytes"),
    ],
)
def test_event_that_is_none_is_refused(content: bytes, status: int, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_all(content, ends=False)
    assert caught.value.status == status
    assert words in caught.value.message


def test_slow_event_is_refused_and_silence_is_not_an_error_of_the_event() -> None:
    for content in (b"{", header(payload_length=10) + b"123", header(data_length=10)):
        begin = time.monotonic()
        with pytest.raises(ApiError, match=r"not whole within 0\.2 s") as caught:
            read_all(content, ends=False)
        assert caught.value.status == 408
        assert time.monotonic() - begin < 2
    with pytest.raises(TimeoutError):
        read_all(b"", ends=False)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda end: header(data={}) + end))
def test_any_bytes_are_events_an_error_or_the_end(content: bytes) -> None:
    with contextlib.suppress(ApiError):
        read_all(content)


REQUESTS: list[tuple[Eventable, requests.Request]] = [
    (Describe(), requests.Describe()),
    (Ping("a"), requests.Ping("a")),
    (SelectProgram("mms"), requests.SelectProgram("mms")),
    (
        Transcribe("m", "sw", {}, "relaxed", ["Amina"], ["taa"]),
        requests.Transcribe("m", "sw", "relaxed", ["Amina"], ["taa"]),
    ),
    (AudioStart(**FORMAT), requests.AudioStart(**FORMAT)),
    (AudioChunk(**FORMAT, audio=b"ab", timestamp=3), requests.AudioChunk(**FORMAT)),
    (AudioStop(), requests.AudioStop()),
    (Synthesize("a"), requests.Synthesize("a")),
    (
        Synthesize("a", SynthesizeVoice("eng"), "ssml"),
        requests.Synthesize("a", VoiceChoice("eng"), "ssml"),
    ),
    (
        SynthesizeStart(SynthesizeVoice(language="en")),
        requests.SynthesizeStart(VoiceChoice(language="en")),
    ),
    (SynthesizeChunk("a"), requests.SynthesizeChunk("a")),
    (SynthesizeStop(), requests.SynthesizeStop()),
]


@pytest.mark.parametrize(("sent", "found"), REQUESTS)
def test_requests_of_the_library_are_understood(sent: Eventable, found: object) -> None:
    assert parse_request(sent.event()) == found


def test_unknown_request_is_none_and_wrong_fields_are_named() -> None:
    assert parse_request(Event("detect", {"names": 1})) is None
    for event, words in (
        (Event("synthesize"), "synthesize: .*text"),
        (Event("synthesize", {"text": 1}), r"\$.text"),
        (Event("synthesize", {"text": "a", "voice": "eng"}), r"\$.voice"),
        (Event("audio-start", {**FORMAT, "rate": "16000"}), r"\$.rate"),
        (Event("audio-start", {**FORMAT, "rate": True}), r"\$.rate"),
        (Event("audio-chunk", {"rate": 1}), "width"),
        (Event("transcribe", {"transcript_names": ["a"] * 1001}), "1000"),
        (Event("transcribe", {"transcript_terms": ["a" * 201]}), "200"),
    ):
        with pytest.raises(ApiError, match=words) as caught:
            parse_request(event)
        assert caught.value.status == 400


def test_order_of_requests() -> None:
    audio = requests.AudioChunk(**FORMAT)
    flows = {
        "transcribe audio-start audio-chunk audio-chunk audio-stop audio-start audio-stop": True,
        "synthesize synthesize": True,
        "synthesize-start synthesize-chunk synthesize-stop synthesize": True,
        "audio-start ping describe audio-stop": True,
        "audio-chunk": False,
        "audio-stop": False,
        "audio-start audio-start": False,
        "audio-start transcribe": False,
        "audio-start synthesize": False,
        "synthesize-stop": False,
        "synthesize-chunk": False,
        "synthesize-start synthesize-start": False,
        "synthesize-start audio-start": False,
    }
    made = {found.__struct_config__.tag: found for _, found in REQUESTS} | {"audio-chunk": audio}
    for flow, is_allowed in flows.items():
        dialogue = Dialogue()
        *first, last = flow.split()
        assert all(dialogue.accept(made[name]) for name in first), flow
        if is_allowed:
            assert dialogue.accept(made[last])
        else:
            with pytest.raises(ApiError, match=f"{last} may not come now"):
                dialogue.accept(made[last])


def test_whole_text_inside_a_text_in_parts_is_ignored() -> None:
    dialogue = Dialogue()
    dialogue.accept(requests.SynthesizeStart())
    assert not dialogue.accept(requests.Synthesize("a"))
    assert dialogue.accept(requests.SynthesizeStop())
    assert dialogue.accept(requests.Synthesize("a"))


def test_samples_of_every_width_and_number_of_channels() -> None:
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 5000).astype("<i2")
    wanted = samples.astype(np.float32) / np.float32(2**15)
    wide = samples.astype("<i4") << 16
    stereo = np.stack([samples, samples[::-1]], axis=1)
    found = {
        "16 bits": ChunkReader().read(16_000, 2, 1, samples.tobytes()),
        "32 bits": ChunkReader().read(16_000, 4, 1, wide.tobytes()),
        "same channels": ChunkReader().read(16_000, 2, 2, np.repeat(samples, 2).tobytes()),
    }
    for name, got in found.items():
        assert got.dtype == np.float32, name
        assert np.array_equal(got, wanted), name
    mixed = ChunkReader().read(16_000, 2, 2, stereo.tobytes())
    assert np.allclose(mixed, (wanted + wanted[::-1]) / 2, atol=1e-7)
    # Unsigned integers of 8 bits, as the library's converter takes and makes them.
    narrow = AudioChunkConverter(width=1).convert(AudioChunk(16_000, 2, 1, samples.tobytes()))
    eight = ChunkReader().read(16_000, 1, 1, narrow.audio)
    assert np.abs(eight - wanted).max() <= 1 / 128


def test_chunks_may_be_cut_inside_a_frame() -> None:
    content = np.arange(4000, dtype="<i2").tobytes()
    reader = ChunkReader()
    pieces = [reader.read(8000, 2, 2, content[i : i + 7]) for i in range(0, len(content), 7)]
    assert np.array_equal(np.concatenate(pieces), ChunkReader().read(8000, 2, 2, content))
    reader.read(8000, 2, 1, b"123")
    with pytest.raises(ApiError, match="the format changes after 1 bytes"):
        reader.read(16_000, 2, 1, b"12")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rate": 0}, "rate is 0 Hz"),
        ({"rate": 10**9}, "rate is 1000000000 Hz"),
        ({"width": 3}, "width is 3 bytes, must be 1, 2 or 4"),
        ({"width": 0}, "width is 0"),
        ({"channels": 0}, "channels is 0"),
        ({"channels": 10**9}, "channels is 1000000000, must be 1 to 32"),
    ],
)
def test_formats_that_cannot_be_read_are_named(given: dict[str, int], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        ChunkReader().read(**{**FORMAT, **given}, payload=b"1234")


SSML = """<?xml version="1.0"?>
<speak version="1.1" xml:lang="en"><!-- a <comment> --><p><s>One &amp; two.</s>
<s>Three<break time="500ms"/>four.</s></p> 5 > 4 &#x41;</speak>"""


def test_ssml_does_not_depend_on_where_it_is_cut() -> None:
    whole = SsmlReader().read(SSML, last=True)
    for word in ("One & two.", 'Three<break time="500ms"/>four.', "5 > 4 A"):
        assert word in whole
    assert "comment" not in whole
    assert whole.count("<") == 1
    for size in (1, 2, 7, 40):
        reader = SsmlReader()
        parts = [reader.read(SSML[i : i + size]) for i in range(0, len(SSML), size)]
        assert "".join(parts) + reader.read("", last=True) == whole


def by_character(ssml: str) -> str:
    reader = SsmlReader()
    return "".join(map(reader.read, ssml)) + reader.read("", last=True)


@pytest.mark.parametrize("repeated", ["<!--", "<", "&", "<!-- a --", "<break ", "<p>", "&amp;"])
def test_ssml_takes_time_in_proportion(repeated: str) -> None:
    begin = time.monotonic()
    with contextlib.suppress(ApiError):
        SsmlReader().read(repeated * (200_000 // len(repeated)), last=True)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("<voice name='x'>a</voice>", "<voice> is not supported"),
        ('<audio src="file:///etc/passwd"/>', "<audio> is not supported"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>", "a tag has no name"),
        ("a < b", "a tag does not end"),
        ("<speak>a", None),
        ("<" + "a" * 2000, "does not end|longer than 1000"),
    ],
)
def test_other_ssml_is_refused(given: str, words: str | None) -> None:
    if words is None:
        assert SsmlReader().read(given, last=True) == "a"
        return
    with pytest.raises(ApiError, match=words):
        SsmlReader().read(given, last=True)
    with pytest.raises(ApiError, match=words):
        by_character(given)


def partial(text: str, stable: int) -> Partial:
    return Partial(text, (), stable, 0.0, 0.0)


def final(text: str, language: str) -> Final:
    return Final(Transcript(text, language, 1.0, (), ()), 0.0, 0.0, 0.0)


def test_settled_text_is_that_of_the_transcript() -> None:
    found = UtteranceText(None)
    events = [
        LanguageChange("eng", "eng", 0.9, 0.0, 0.0, 0.0),
        partial("hel", 0),
        partial("hello wo", 6),
        partial("hello wo", 6),
        final("hello world", "eng"),
        Endpoint("pause", 0.0, 0.0, 0.0),
        partial("a", 1),
        final("again", "eng"),
    ]
    chunks = [found.take(event) for event in events]
    assert chunks == ["", "", "hello ", "", "world", "", " a", "gain"]
    assert found.text == "hello world again" == "".join(chunks)
    assert found.language == "eng"
    thai = UtteranceText("tha")
    for event in (final("สวัสดี", "tha"), final("ครับ", "tha")):
        thai.take(event)
    assert thai.text == "สวัสดีครับ"
