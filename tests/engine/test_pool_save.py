"""Saved streams of a pool: taken while steps run, and continued in another pool."""

import queue

import msgspec
import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool import PooledStream, PoolOptions
from mms_engine.asr.streaming import StreamOptions
from mms_engine.errors import StreamError
from stream_sounds import RATE, ends, speech, texts

FREE = PoolOptions(admission=False)


def saved(stream: PooledStream) -> bytes:
    answers: queue.SimpleQueue = queue.SimpleQueue()
    stream.save(answers.put)
    state = answers.get(timeout=60)
    assert isinstance(state, bytes), state
    return state


@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize("pieces", [2, 7, 40])
def test_saved_stream_continues_in_another_pool(demo: Recognizer, pieces: int, rate: int) -> None:
    sound = speech("eng")[: 12 * RATE : RATE // rate]
    content = (sound * 32767).astype("<i2").tobytes()
    size = len(content) // pieces + 1
    size += size % 2 == 0  # cut inside a sample
    options = StreamOptions(sample_format="s16le", sample_rate=rate)
    single, expected, found = demo.stream("eng", options), [], []
    with demo.pool(FREE) as pool, demo.pool(FREE) as other:
        stream = pool.open("eng", options)
        for start in range(0, len(content), size):
            piece = content[start : start + size]
            stream.feed(piece)
            expected += single.feed(piece)
            if start == 2 * size:
                stream.flush()
                expected += single.flush()
            state = saved(stream)
            stream.cancel()
            found += stream.events(timeout=60)
            pool, other = other, pool
            stream = pool.restore(state)
        stream.finish()
        found += stream.events(timeout=60)
    expected += single.finish()
    assert texts(found) == texts(expected) != []
    assert ends(found) == ends(expected)


def test_stream_that_ends_answers_a_pending_save(demo: Recognizer) -> None:
    answers: queue.SimpleQueue = queue.SimpleQueue()
    with demo.pool(FREE) as pool:
        stream = pool.open("eng")
        stream.feed(speech("eng")[:RATE])
        stream.flush()
        stream.save(answers.put)
        stream.cancel()
        assert isinstance(answers.get(timeout=30), bytes | StreamError)
        with pytest.raises(StreamError):
            stream.save(answers.put)


def test_state_that_is_damaged_opens_nothing(demo: Recognizer) -> None:
    with demo.pool(FREE) as pool:
        state = saved(pool.open("eng"))
        count = len(pool)
        for content in (b"", b"x" * 100, state[: len(state) // 2], msgspec.msgpack.encode({})):
            with pytest.raises(StreamError, match="not a saved stream"):
                pool.restore(content)
        assert len(pool) == count == len(pool._loads)
