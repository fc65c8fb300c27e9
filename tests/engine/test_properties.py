"""Independence of the text from batches, padding, order, buckets, threads and windows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_sounds import sound
from mms_engine import BeamSearch, Recognizer, RecognizerOptions, Transcript
from mms_engine.audio import normalize
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.windows import WindowOptions

LANGUAGES = ("eng", "swh", "uzb-script_latin")
TOLERANCE = 1e-4

clips = st.lists(
    st.tuples(st.integers(300, 60_000), st.integers(0, 9), st.sampled_from(LANGUAGES)),
    min_size=2,
    max_size=8,
)
reuse = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def segment(samples: int, seed: int, language: str) -> Segment:
    return Segment(normalize(sound(4, seed)[:samples]), language)


def acoustic(recognizer: Recognizer) -> AcousticModel:
    return recognizer._model


@given(drawn=clips)
@reuse
def test_alone_equals_padded_equals_mixed_batch(
    tiny: Recognizer, drawn: list[tuple[int, int, str]]
) -> None:
    """Alone = in a padded batch of one language = in a padded batch of several languages."""
    model = acoustic(tiny)
    mixed = [segment(max(400, samples), seed, code) for samples, seed, code in drawn]
    together = model.logits(mixed)
    for one, in_mixed in zip(mixed, together, strict=True):
        alone = model.logits([one])[0]
        peers = [Segment(other.samples, one.language) for other in mixed]
        same = model.logits([one, *peers])[0]
        assert alone.shape == in_mixed.shape == same.shape
        np.testing.assert_allclose(in_mixed, alone, atol=TOLERANCE)
        np.testing.assert_allclose(same, alone, atol=TOLERANCE)


@given(drawn=clips, order=st.randoms(use_true_random=False))
@reuse
def test_text_does_not_depend_on_company_and_order(
    either: Recognizer, drawn: list[tuple[int, int, str]], order: object
) -> None:
    audios = [sound(4, seed)[:samples] for samples, seed, _ in drawn]
    languages = [language for *_, language in drawn]
    alone = [either.transcribe(*pair) for pair in zip(audios, languages, strict=True)]
    shuffled = list(range(len(drawn)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    batched = either.transcribe([audios[i] for i in shuffled], [languages[i] for i in shuffled])
    for position, transcript in zip(shuffled, batched, strict=True):
        assert same_words(transcript, alone[position])


def same_words(one: Transcript, other: Transcript) -> bool:
    spans = [[(w.text, w.start, w.end) for w in t.words] for t in (one, other)]
    confidences = [[w.confidence for w in t.words] for t in (one, other)]
    return (
        one.text == other.text
        and spans[0] == spans[1]
        and np.allclose(*confidences, atol=1e-4)
        and (one.language, one.duration) == (other.language, other.duration)
    )


@pytest.mark.parametrize(
    "options",
    [
        RecognizerOptions(threads=1),
        RecognizerOptions(threads=3),
        RecognizerOptions(batch_frames=1),
        RecognizerOptions(batch_frames=500),
        RecognizerOptions(batch_frames=100_000),
        RecognizerOptions(read_ahead_seconds=3.0),
        RecognizerOptions(adapter_cache_bytes=1),
        RecognizerOptions(windows=WindowOptions(seconds=100.0)),
    ],
    ids=["1 thread", "3 threads", "no batches", "small buckets", "one batch", "small pools",
         "one slot", "larger windows"],
)  # fmt: skip
def test_text_does_not_depend_on_threads_buckets_and_slots(
    either: Recognizer, tiny_bundle: Path, beam: BeamSearch | None, options: RecognizerOptions
) -> None:
    audios = [sound(0.3 + 0.7 * i % 5, seed=i) for i in range(9)]
    languages = [LANGUAGES[i % 3] for i in range(9)]
    expected = either.transcribe(audios, languages)
    with Recognizer.open(tiny_bundle, options=options, beam=beam) as other:
        got = other.transcribe(audios, languages)
    assert all(map(same_words, got, expected))
    assert len({transcript.text for transcript in expected}) > 5


def test_windows_are_stitched_on_frame_boundaries(
    tiny: Recognizer, tiny_bundle: Path, beam: BeamSearch | None
) -> None:
    """A windowed text is that of the logits put together by hand."""
    from mms_engine.decoding.host import HostDecoders
    from mms_engine.encoder.windows import plan_windows

    windows = WindowOptions(seconds=2.0, context_seconds=0.5)
    audio = sound(11.3)
    options = RecognizerOptions(windows=windows, beam=beam)
    with Recognizer.open(tiny_bundle, options=options) as short:
        got = short.transcribe(audio, "swh")
    model, normal = acoustic(tiny), normalize(audio)
    frames = model.geometry.frames(len(audio))
    plan = plan_windows(frames, windows, frame_seconds=0.02)
    assert len(plan) > 4
    logits = []
    for window in plan:
        samples = normal[window.start * 320 : window.start * 320 + 400 + 320 * (window.frames - 1)]
        rows = model.logits([Segment(samples, "swh")])[0]
        assert len(rows) == window.frames
        logits.append(rows[window.kept])
    decoding = HostDecoders(beam).start("swh", model.vocabulary("swh"))
    decoding.step(np.concatenate(logits))
    tokens = decoding.finish()[0].tokens.tolist()
    assert sum(map(len, logits)) == frames
    assert got.text == model.vocabulary("swh").text(tokens)


def test_frontend_in_pieces_equals_the_whole(tiny: Recognizer) -> None:
    host = acoustic(tiny).encoder
    samples = normalize(sound(13.7))
    at_once = host.features(samples[np.newaxis])[0]
    np.testing.assert_allclose(host._features(samples), at_once, atol=1e-5)


def test_several_threads_share_a_recognizer(tiny: Recognizer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    audios = [sound(1.0 + 0.2 * i, seed=i) for i in range(6)]
    languages = [LANGUAGES[i % 3] for i in range(6)]
    expected = [tiny.transcribe(*pair) for pair in zip(audios, languages, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            got = list(pool.map(tiny.transcribe, audios, languages))
            assert all(map(same_words, got, expected))
