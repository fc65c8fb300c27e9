"""Equality with transformers for the same checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from engine_demo import DEMO, Clip, demo_clips
from engine_sounds import sound
from mms_engine import Recognizer
from mms_engine.audio import normalize, read_audio
from mms_engine.encoder.emission import Segment

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


class Peer:
    """transformers, one language at a time."""

    def __init__(self, checkpoint: Path) -> None:
        self.extractor = Wav2Vec2FeatureExtractor.from_pretrained(checkpoint)
        self.tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(checkpoint)
        self.model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()

    def logits(self, samples: np.ndarray, language: str) -> np.ndarray:
        self.tokenizer.set_target_lang(language)
        self.model.load_adapter(language)
        values = self.extractor(samples, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            return self.model(values.input_values).logits[0].numpy()

    def text(self, samples: np.ndarray, language: str) -> str:
        text: str = self.tokenizer.decode(self.logits(samples, language).argmax(-1))
        for special in SPECIALS:
            text = text.replace(special, "")
        return text.strip()


@pytest.fixture(scope="module")
def peer(tiny_checkpoint: Path) -> Peer:
    return Peer(tiny_checkpoint)


@pytest.fixture(scope="module")
def exact(exact_bundle: Path) -> Recognizer:
    return Recognizer.open(exact_bundle)


@pytest.mark.parametrize("language", ["eng", "swh", "uzb-script_latin"])
@pytest.mark.parametrize("seconds", [0.025, 0.5, 3.21, 12.0])
def test_logits_and_text_equal_those_of_transformers(
    exact: Recognizer, peer: Peer, language: str, seconds: float
) -> None:
    samples = sound(seconds, seed=round(seconds * 100))
    ours = exact._model.logits([Segment(normalize(samples), language)])[0]
    np.testing.assert_allclose(ours, peer.logits(samples, language), atol=2e-3)
    assert exact.transcribe(samples, language).text == peer.text(samples, language)


@pytest.fixture(scope="module")
def demo_peer() -> Peer:
    return Peer(DEMO / "checkpoint")


@pytest.mark.parametrize("clip", demo_clips(), ids=lambda clip: clip.path.stem)
def test_text_of_every_demo_clip_equals_that_of_transformers(
    demo: Recognizer, demo_peer: Peer, clip: Clip
) -> None:
    text = demo.transcribe(clip.path, clip.language).text
    assert text == demo_peer.text(read_audio(clip.path).samples, clip.language)
    assert text
