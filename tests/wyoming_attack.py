"""Random bytes of hostile Wyoming clients."""

import json
import random

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.info import Describe, SelectProgram
from wyoming.ping import Ping
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from mms_engine.serve.wyoming.frames import event_bytes
from wyoming_client import FORMAT


class Attack:
    """Random bytes of one client."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def content(self) -> bytes:
        """Return what a client sends: events in any order, some of them damaged."""
        pieces = [self._event() for _ in range(self._rng.randint(1, 8))]
        if self._rng.random() < 0.3:
            pieces.insert(self._rng.randint(0, len(pieces)), self._garbage())
        content = b"".join(pieces)
        if self._rng.random() < 0.4:
            content = content[: self._rng.randint(0, len(content))]
        return content

    def _event(self) -> bytes:
        rng = self._rng
        shape = dict(FORMAT)
        if rng.random() < 0.3:
            shape[rng.choice(list(shape))] = self._number()
        samples = bytes(rng.randbytes(rng.choice((0, 1, 2, 63, 2048, 32_000))))
        text = rng.choice(
            ("a", "The river.", "", "!?", "ж", "\u0000", "<break time='9s'/>", "x" * 300)
        )
        made = rng.choice(
            (
                Describe(),
                Ping(text),
                SelectProgram(rng.choice(("mms", text))),
                Transcribe(rng.choice((None, text)), rng.choice(("en", "eng", None, text))),
                AudioStart(**shape),
                AudioChunk(**shape, audio=samples),
                AudioChunk(**shape, audio=samples),
                AudioStop(),
                Synthesize(text, text_format=rng.choice((None, "text", "ssml", text))),
                SynthesizeStart(text_format=rng.choice((None, "ssml"))),
                SynthesizeChunk(text),
                SynthesizeStop(),
            )
        )
        content = event_bytes(made.event())
        return self._damaged(content) if rng.random() < 0.3 else content

    def _damaged(self, content: bytes) -> bytes:
        rng = self._rng
        kind = rng.randint(0, 4)
        if kind == 0:
            at = rng.randrange(len(content))
            return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        if kind == 1:
            at, end = sorted((rng.randrange(len(content)), rng.randrange(len(content))))
            return content[:at] + content[end:]
        header, _, rest = content.partition(b"\n")
        fields = json.loads(header)
        name = rng.choice(("data_length", "payload_length", "type", "data", "version"))
        fields[name] = self._value()
        return json.dumps(fields).encode() + b"\n" + rest

    def _garbage(self) -> bytes:
        rng = self._rng
        return rng.choice(
            (
                rng.randbytes(rng.randint(1, 3000)),
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                b'{"type": "' + b"a" * 70_000,
                b'{"type": "ping", "data": ' + b'{"a": ' * 5000,
                b'{"type": "ping", "data": ' + b"[" * 30_000 + b"]" * 30_000 + b"}\n",
                b'{"type": "ping", "data": {"text": "\xff\xfe"}}\n',
                b'{"type": "ping", "payload_length": 1000000}\n' + b"x" * 1000,
                b'{"type": "ping", "data_length": 262144}\n' + b"{" * 262_144,
                b'{"type": "ping", "data": {"text": "\\ud800"}}\n',
                b"\n" * rng.randint(1, 100),
                b"\x00" * rng.randint(1, 100),
            )
        )

    def _number(self) -> object:
        return self._rng.choice((0, -1, 1, 3, 4, 8000, 44_100, 2**31, 2**63, 2**64, 1.5, None, "2"))

    def _value(self) -> object:
        return self._rng.choice((self._number(), [], {}, [[{}]], "x" * 200, True, {"text": 1}))
