"""Audio-time simulation: a stream is fed 20 ms at a time, as if computing took no time."""

import time
from dataclasses import dataclass

from mms_bench.streaming.offline import Engine
from mms_bench.streaming.recordings import Recording
from mms_engine.asr.streaming import Event, StreamOptions
from mms_engine.audio import SAMPLE_RATE

PIECE_SECONDS = 0.02
"""A packet of telephony; delays are known to this."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream made of a recording."""

    events: tuple[Event, ...]
    cpu_seconds: float
    """Processor time of all threads."""


def listen(engine: Engine, recording: Recording, options: StreamOptions) -> Heard:
    """Feed a recording to a stream; each event's `audio_seconds` is when it was shown."""
    begin = time.process_time()
    events: list[Event] = []
    size = round(PIECE_SECONDS * SAMPLE_RATE)
    with engine.recognizer.stream(recording.language, options) as stream:
        for start in range(0, len(recording.samples), size):
            events += stream.feed(recording.samples[start : start + size])
        events += stream.finish()
    return Heard(tuple(events), time.process_time() - begin)
