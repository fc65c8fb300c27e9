"""A random recogniser, and an identifier that tells low voices (eng) from high ones (swh)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import Wav2Vec2ForSequenceClassification

from exporting import export
from mms_engine import Identifier, IdentifierOptions, Recognizer, Router
from tiny_models import LID_LABELS, make_tiny, make_tiny_lid
from voices import LOW_AND_HIGH, voice


@pytest.fixture(scope="session")
def asr_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in eng, swh and uzb-script_latin, with text in any sound."""
    checkpoint = make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")
    for language, seed in {"eng": 93, "swh": 268, "uzb-script_latin": 226}.items():
        adapter = checkpoint / f"adapter.{language}.safetensors"
        tensors = load_file(adapter)
        random = np.random.default_rng(seed)
        for name, scale in (("lm_head.weight", 0.5), ("lm_head.bias", 0.1)):
            tensors[name] = random.normal(0, scale, tensors[name].shape).astype(np.float32)
        save_file(tensors, adapter)
    return export(checkpoint, tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def lid_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose classifier is fitted to low and high voices, fra to a third kind."""
    checkpoint = make_tiny_lid(tmp_path_factory.mktemp("checkpoint") / "tiny-lid")
    model = Wav2Vec2ForSequenceClassification.from_pretrained(checkpoint).eval()
    pooled, targets = [], []
    with torch.inference_mode():
        for number in range(36):
            for target, pitch in enumerate(LOW_AND_HIGH):
                samples = voice(1.0 + number % 3 * 0.5, pitch, 1000 + number)
                normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
                hidden = model.wav2vec2(torch.from_numpy(normal)[None]).last_hidden_state
                pooled.append(model.projector(hidden).mean(1)[0])
                targets.append(target)
    rows = torch.stack(pooled)
    ones = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    wanted = 8 * (torch.nn.functional.one_hot(torch.tensor(targets)).float() - 0.5)
    fitted = torch.linalg.lstsq(ones, wanted, driver="gelsd").solution.T
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.fill_(-8)
        for row, label in zip(fitted, ("eng", "swh", "fra"), strict=True):
            model.classifier.weight[LID_LABELS.index(label)] = row[:-1]
            model.classifier.bias[LID_LABELS.index(label)] = row[-1]
    model.save_pretrained(checkpoint)
    return export(checkpoint, tmp_path_factory.mktemp("bundle") / "lid")


@pytest.fixture(scope="session")
def recognizer(asr_bundle: Path) -> Iterator[Recognizer]:
    with Recognizer.open(asr_bundle, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def identifier(lid_bundle: Path) -> Iterator[Identifier]:
    with Identifier.open(lid_bundle, options=IdentifierOptions(threads=1)) as opened:
        yield opened


@pytest.fixture(scope="session")
def router(recognizer: Recognizer, identifier: Identifier) -> Router:
    return Router(recognizer, identifier)
