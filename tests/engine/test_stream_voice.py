"""Silero VAD in a stream: where a voice is, however the sound came, and what is not computed."""

import importlib.util
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine import Recognizer
from mms_engine.asr.streaming import Endpoint, EndpointOptions, Final, StreamOptions
from mms_engine.asr.streaming.vad import WINDOW, VoiceActivity, load_silero
from mms_engine.errors import BackendError
from mms_engine.types import Float32Array
from stream_sounds import RATE, cut, hear, said, speech

HOP, FIELD = 320, 400
SILERO = StreamOptions(endpoints=EndpointOptions(vad="silero"))
needs_silero = pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed"
)


def loud(window: Float32Array, state: Float32Array) -> tuple[float, Float32Array]:
    """A detector that adds up what it heard, so that order and state matter."""
    after = state + np.float32(window[64:].sum())
    return float(after[0, 0, 0] % 2 >= 1), after


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1300), max_size=20), st.integers(0, 2**32 - 1))
def test_how_the_samples_came_changes_nothing(sizes: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).integers(0, 3, 8000).astype(np.float32)
    whole, pieces = VoiceActivity(loud, HOP, FIELD), VoiceActivity(loud, HOP, FIELD)
    whole.hear(sound)
    places = np.minimum(np.cumsum([0, *sizes, len(sound)]), len(sound))
    for start, end in itertools.pairwise(places):
        pieces.hear(sound[start:end])
        again = VoiceActivity(loud, HOP, FIELD)
        again.restore(pieces.state())
        pieces = again
    assert pieces.end == whole.end == 8000
    assert pieces.frames(0, 30).tolist() == whole.frames(0, 30).tolist()


def test_a_frame_is_that_of_the_window_of_its_middle() -> None:
    voice = VoiceActivity(lambda window, state: (window[64], state), HOP, FIELD)
    voice.hear(np.repeat([0, 1, 0, 1, 0], WINDOW).astype(np.float32))
    middles = np.arange(7) * HOP + FIELD // 2
    assert voice.frames(0, 7).tolist() == [m // WINDOW in (1, 3) for m in middles]
    assert voice.frames(7, 9).tolist() == [False, True]  # the last window is not complete
    voice.forget(5)
    assert voice.frames(5, 9).tolist() == [True, False, False, True]


def test_what_must_be_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    load_silero.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="pip install --no-deps silero-vad"):
        load_silero()


@needs_silero
def test_noise_without_a_voice_is_not_computed(
    demo: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    english = speech("eng")
    noise = np.random.default_rng(0).normal(0, 0.05, 30 * RATE).astype(np.float32)
    sound = np.concatenate([english, noise, english])
    runs: dict[str, int] = {}
    finals: dict[str, list[Final]] = {}
    for vad in ("level", "silero"):
        stream = demo.stream("eng", StreamOptions(endpoints=EndpointOptions(vad=vad)))
        count = itertools.count()
        encode = stream._model.encode
        with monkeypatch.context() as patch:
            patch.setattr(
                stream._model, "encode", lambda *rows, f=encode, c=count: (next(c), f(*rows))[1]
            )
            events = hear(stream, cut(sound, itertools.repeat(RATE)))
        runs[vad] = next(count)
        finals[vad] = [event for event in events if isinstance(event, Final)]
    # Half of the sound is noise; some of it is heard until the pause has lasted.
    assert runs["silero"] < 0.7 * runs["level"]
    assert finals["silero"][-1].start > len(english) / RATE + 25
    assert len(finals["silero"]) >= 2


@needs_silero
def test_noise_ends_an_utterance(demo: Recognizer) -> None:
    sound = speech("eng")[: 3 * RATE]
    noise = np.random.default_rng(0).normal(0, 0.05, 5 * RATE).astype(np.float32)
    events = hear(demo.stream("eng", SILERO), [np.concatenate([sound, noise])])
    assert "pause" in [event.reason for event in events if isinstance(event, Endpoint)]


@needs_silero
def test_pieces_and_a_move_elsewhere_give_the_same_text(demo: Recognizer) -> None:
    english = speech("eng")
    whole = hear(demo.stream("eng", SILERO), [english])
    for size in (160, 1777, 3 * RATE):
        stream, events = demo.stream("eng", SILERO), []
        for piece in cut(english, itertools.repeat(size)):
            events += stream.feed(piece)
            if size > RATE:
                stream = demo.restore_stream(stream.save())
        assert said([*events, *stream.finish()]) == said(whole)
