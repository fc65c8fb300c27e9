"""Windowed recognition of speech equals that of the whole recording."""

from pathlib import Path

import jiwer
import numpy as np
import pytest

from engine_demo import demo_clips
from mms_engine import Recognizer, RecognizerOptions, Word
from mms_engine.audio import read_audio
from mms_engine.encoder.windows import WindowOptions

CUT = WindowOptions()
UNCUT = WindowOptions(seconds=10_000.0)
LANGUAGES = sorted({clip.language for clip in demo_clips()})


def speech(language: str) -> tuple[np.ndarray, str]:
    """Return 70 s of the demo's clips with pauses between them, and its text."""
    clips = [clip for clip in demo_clips() if clip.language == language]
    samples, said = [], []
    while sum(map(len, samples)) < 70 * 16_000:
        for clip in clips:
            samples += [read_audio(clip.path).samples, np.zeros(8000, np.float32)]
            said.append(clip.text)
    return np.concatenate(samples), " ".join(said)


def far_from(seams: list[float], words: tuple[Word, ...]) -> list[str]:
    return [w.text for w in words if all(abs(w.start - s) > 1 < abs(w.end - s) for s in seams)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_windows_change_no_words_away_from_the_seams(demo_bundle: Path, language: str) -> None:
    """Attention sees all of a window, so a doubtful letter may change; nothing else does."""
    audio, said = speech(language)
    with Recognizer.open(demo_bundle, options=RecognizerOptions(windows=CUT)) as recognizer:
        cut = recognizer.transcribe(audio, language)
    with Recognizer.open(demo_bundle, options=RecognizerOptions(windows=UNCUT)) as recognizer:
        whole = recognizer.transcribe(audio, language)
    seams = list(np.arange(33.0, len(audio) / 16_000, 30.0))
    ours, theirs = far_from(seams, cut.words), far_from(seams, whole.words)
    assert len(seams) >= 2
    assert len(theirs) > 20
    assert jiwer.cer(" ".join(theirs), " ".join(ours)) < 0.1
    # And nothing is lost or doubled at the seams themselves.
    assert jiwer.cer(said, cut.text) < jiwer.cer(said, whole.text) + 0.02
