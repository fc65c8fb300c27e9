"""Voice activity detection by Silero in a stream."""

import importlib.util
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_engine import Recognizer
from mms_engine.asr.streaming import EndpointOptions, StreamOptions
from mms_engine.asr.streaming.vad import WINDOW, VoiceActivity, load_silero
from mms_engine.errors import BackendError
from mms_engine.types import Float32Array
from stream_sounds import RATE, count_steps, cut, ends, finals, run, speech

HOP, FIELD = 320, 400
SILERO = StreamOptions(endpoints=EndpointOptions(vad="silero"))
needs_silero = pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed"
)


def loud(window: Float32Array, state: Float32Array) -> tuple[float, Float32Array]:
    """Detect from the sum of all samples so far, so that order and state matter."""
    after = state + np.float32(window[64:].sum())
    return float(after[0, 0, 0] % 2 >= 1), after


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1300), max_size=20), st.integers(0, 2**32 - 1))
def test_detection_does_not_depend_on_cuts_or_a_restore(sizes: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).integers(0, 3, 8000).astype(np.float32)
    whole, pieces = VoiceActivity(loud, HOP, FIELD), VoiceActivity(loud, HOP, FIELD)
    whole.detect(sound)
    bounds = np.minimum(np.cumsum([0, *sizes, len(sound)]), len(sound))
    for start, end in itertools.pairwise(bounds):
        pieces.detect(sound[start:end])
        again = VoiceActivity(loud, HOP, FIELD)
        again.restore(pieces.state())
        pieces = again
    assert pieces.end == whole.end == 8000
    assert pieces.frames(0, 30).tolist() == whole.frames(0, 30).tolist()


def test_frame_takes_the_window_at_its_middle() -> None:
    voice = VoiceActivity(lambda window, state: (window[64], state), HOP, FIELD)
    voice.detect(np.repeat([0, 1, 0, 1, 0], WINDOW).astype(np.float32))
    middles = np.arange(7) * HOP + FIELD // 2
    assert voice.frames(0, 7).tolist() == [m // WINDOW in (1, 3) for m in middles]
    assert voice.frames(7, 9).tolist() == [False, True]  # the last window is not complete
    voice.forget(5)
    assert voice.frames(5, 9).tolist() == [True, False, False, True]


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load_silero.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="pip install --no-deps silero-vad"):
        load_silero()


@needs_silero
def test_noise_without_a_voice_ends_an_utterance_and_is_skipped(demo: Recognizer) -> None:
    english = speech("eng")
    noise = np.random.default_rng(0).normal(0, 0.05, 30 * RATE).astype(np.float32)
    sound = np.concatenate([english[: 3 * RATE], noise, english])
    steps = {}
    for vad in ("level", "silero"):
        stream = demo.stream("eng", StreamOptions(endpoints=EndpointOptions(vad=vad)))
        counted = count_steps(stream)
        events = run(stream, cut(sound, itertools.repeat(RATE)))
        steps[vad] = len(counted)
    # Over half of the audio is noise; some is encoded until the pause has lasted long enough.
    assert steps["silero"] < 0.6 * steps["level"]
    assert ends(events)[0] == ("pause", pytest.approx(3.5, abs=1))
    assert finals(events)[-1][1] > 33
    assert len(finals(events)) >= 2


@needs_silero
def test_text_does_not_depend_on_cuts_or_a_restore(demo: Recognizer) -> None:
    english = speech("eng")
    whole = run(demo.stream("eng", SILERO), [english])
    for size in (160, 1777, 3 * RATE):
        stream, events = demo.stream("eng", SILERO), []
        for piece in cut(english, itertools.repeat(size)):
            events += stream.feed(piece)
            if size > RATE:
                stream = demo.restore_stream(stream.save())
        assert finals([*events, *stream.finish()]) == finals(whole)
