"""Running normalisation of recordings."""

from pathlib import Path

import jiwer
import numpy as np
import pytest

from engine_demo import demo_clips
from engine_sounds import RATE, sound
from mms_engine import NormalizationOptions, Recognizer, RecognizerOptions, WindowOptions
from mms_engine.audio import read_audio
from mms_engine.audio.running_norm import RunningNormalization, running_statistics

OPTIONS = NormalizationOptions()
BLOCK, HOP = RATE, RATE // 50


def levels(seconds: float, seed: int = 0) -> np.ndarray:
    """Return sound whose level changes twentyfold every 2 s."""
    samples = sound(seconds, seed)
    quiet = np.arange(len(samples)) // (2 * RATE) % 2 == 1
    return np.where(quiet, samples / 20, samples).astype(np.float32)


def test_block_is_normalized_by_the_audio_up_to_one_second_behind_it() -> None:
    samples = levels(4.31)
    normalization = running_statistics(samples, OPTIONS, RATE)
    for number, block in enumerate(normalization.blocks):
        running = RunningNormalization(OPTIONS, RATE, HOP)
        end = min((number + 2) * BLOCK, len(samples)) // HOP * HOP
        running.update(samples[:end])
        assert block.mean == pytest.approx(running.current().mean, rel=1e-9)
        assert block.scale == pytest.approx(running.current().scale, rel=1e-9)
    assert len(normalization.blocks) == 5


@pytest.mark.parametrize("count", [0, 1, HOP, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_spans_equal_those_of_the_whole(count: int) -> None:
    samples = levels(4.0)[:count]
    normalization = running_statistics(samples, OPTIONS, RATE)
    whole = normalization.apply_to(samples, slice(0, count))
    assert whole.shape == (count,)
    assert whole.dtype == np.float32
    for start in range(0, count, 4801):
        for size in (1, 400, BLOCK, 2 * BLOCK + 1):
            span = slice(start, min(start + size, count))
            assert normalization.apply_to(samples, span).tobytes() == whole[span].tobytes()


def test_text_depends_on_the_recording_alone(tiny_bundle: Path) -> None:
    sounds = [levels(seconds, seed) for seed, seconds in enumerate([7.3, 0.9, 4.0, 12.6])]

    def texts(order: list[int], **options: object) -> dict[int, object]:
        chosen = RecognizerOptions(normalization=OPTIONS, **options)
        with Recognizer.open(tiny_bundle, options=chosen) as recognizer:
            found = recognizer.transcribe([sounds[i] for i in order], "eng")
        return {i: (one.text, one.words) for i, one in zip(order, found, strict=True)}

    expected = texts([0, 1, 2, 3], threads=2)
    assert texts([3, 2, 1, 0], threads=1, batch_frames=4000, read_ahead_seconds=1.0) == expected
    assert {i: texts([i])[i] for i in expected} == expected
    # The statistics are those of the recording, wherever its windows are cut.
    cut = texts([3], windows=WindowOptions(seconds=6.0, context_seconds=6.6))
    assert cut[3][0] == expected[3][0]
    with Recognizer.open(tiny_bundle) as recognizer:
        assert recognizer.transcribe(sounds[0], "eng").text != expected[0][0]


def test_speech_in_minutes_of_silence_is_recognized(demo_bundle: Path) -> None:
    clips = [clip for clip in demo_clips() if clip.language == "eng"]
    alone = [read_audio(clip.path).samples for clip in clips]
    in_silence = [np.pad(speech, 60 * RATE) for speech in alone]

    def rate(normalization: NormalizationOptions | None, sounds: list[np.ndarray]) -> float:
        options = RecognizerOptions(normalization=normalization)
        with Recognizer.open(demo_bundle, options=options) as recognizer:
            texts = [one.text for one in recognizer.transcribe(sounds, "eng")]
        return float(jiwer.cer([clip.text for clip in clips], texts))

    running, utterance = (rate(options, in_silence) for options in (OPTIONS, None))
    assert running < rate(None, alone) + 0.15
    assert utterance > running + 0.15
