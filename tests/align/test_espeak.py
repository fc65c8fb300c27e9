"""Word times of synthetic speech, beside those of the synthesiser's phonemes."""

import numpy as np
import pytest
import soxr

from espeak_speech import Synthesis, synthesize
from mms_engine import Aligner

SENTENCES = {
    "eng": ("en-us", ["please enter your password followed by the pound key"]),
    "spa": ("es", ["la persona no está disponible en este momento", "usted se unirá a la sala"]),
    "fra": ("fr", ["veuillez composer votre numéro de boite vocale"]),
    "ita": ("it", ["prego controllare il numero e riprovare", "sei il primo partecipante"]),
    "rus": ("ru", ["наберите новый номер и нажмите решетку", "введите пароль"]),
}
CASES = [
    (code, voice, text, rate)
    for code, (voice, texts) in SENTENCES.items()
    for text in texts
    for rate in (130, 160)
]


def speak(voice: str, text: str, rate: int) -> Synthesis:
    found = synthesize(text, voice, rate)
    if found is None:
        pytest.skip("espeak-ng or one of its voices is not installed")
    assert len(found.words) == len(text.split())
    return found


def test_words_are_where_their_phonemes_are(aligner: Aligner) -> None:
    errors = []
    for code, voice, text, rate in CASES:
        spoken = speak(voice, text, rate)
        samples = soxr.resample(spoken.samples, spoken.rate, 16_000)
        found = aligner.align(samples, text, code)
        errors += [
            (word.start - start, word.end - end)
            for word, (start, end) in zip(found.words, spoken.words, strict=True)
        ]
    starts, ends = np.array(errors).T
    sizes = np.abs(np.array(errors))
    assert np.median(sizes) <= 0.02
    assert np.percentile(sizes, 90) <= 0.045
    assert np.percentile(sizes, 99) <= 0.1
    assert abs(starts.mean()) <= 0.025
    assert abs(ends.mean()) <= 0.025
