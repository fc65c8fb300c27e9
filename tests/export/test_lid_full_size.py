"""Parity of language identification with transformers on random checkpoints of the true size.

Takes 16 GB of disk, 10 GB of memory and half an hour, so runs only with MMS_FULL_SIZE=1.
MMS_FULL_SIZE_DIR names the working folder, whose checkpoints and bundles are reused.
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification

from export_runs import run_export
from mms_engine.audio import read_audio
from mms_engine.bundle import open_bundle
from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.open import open_checkpoint
from mms_export.parity import SPEECH
from mms_export.synthetic import command

pytestmark = [
    pytest.mark.full_size,
    pytest.mark.skipif(os.environ.get("MMS_FULL_SIZE") != "1", reason="set MMS_FULL_SIZE=1"),
]
CLIPS, BATCH = 200, 22
SIZES = {126: 3_864_495_808, 4017: 3_880_448_972}
"""Bytes of the published checkpoints, facebook/mms-lid-126 and -4017."""


@pytest.fixture(scope="module", params=sorted(SIZES))
def checkpoint(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("MMS_FULL_SIZE_DIR")
    folder = Path(named) if named else tmp_path_factory.mktemp("full")
    out = folder / f"mms-lid-{request.param}-synthetic"
    if not (out / "config.json").exists():
        arguments = ["--labels", str(request.param), "--out", str(out)]
        command.main(arguments, standalone_mode=False)
    # The published header may differ by what describes the tensors, not by a tensor.
    size = (out / "model.safetensors").stat().st_size
    assert abs(size - SIZES[request.param]) < 1000
    return out


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    out = checkpoint.with_name(f"{checkpoint.name}-bundle")
    run_export(checkpoint, out)
    return out


def clips() -> list[np.ndarray]:
    """Excerpts of speech in noise, 0.06 to 0.25 s, and two long ones for the last batch."""
    samples, random = read_audio(SPEECH).samples, np.random.default_rng(0)
    found = []
    for size in [*random.integers(1_000, 4_000, CLIPS - 2), 48_000, 80_000]:
        start = random.integers(len(samples) - size)
        loudness = random.uniform(0, 0.5)
        noise = loudness * samples.std() * random.standard_normal(size)
        found.append((samples[start : start + size] + noise).astype(np.float32))
    return found


@torch.inference_mode()
def oracle(checkpoint: Path, batches: list[list[np.ndarray]]) -> tuple[np.ndarray, list]:
    """Return the logits of transformers and the extracted batches."""
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(checkpoint).eval()
    inputs = [
        extractor(batch, sampling_rate=16_000, padding=True, return_tensors="pt")
        for batch in batches
    ]
    return np.concatenate([model(**one).logits.numpy() for one in inputs]), inputs


def session(bundle: Path, name: str) -> onnxruntime.InferenceSession:
    path = open_bundle(bundle).graph(name, "fp32")[1]
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_logits_are_those_of_transformers(checkpoint: Path, bundle: Path, record_property) -> None:
    audios = sorted(clips(), key=len)
    batches = [audios[start : start + BATCH] for start in range(0, CLIPS, BATCH)]
    expected, inputs = oracle(checkpoint, batches)
    geometry = FrameGeometry.of(open_checkpoint(str(checkpoint)).config)
    frontend, encoder = session(bundle, "frontend"), session(bundle, "encoder")

    def scores(audio: np.ndarray, sizes: list[int]) -> np.ndarray:
        (features,) = frontend.run(None, {"audio": audio})
        lengths = np.array([geometry.frames(size) for size in sizes])
        return encoder.run(None, {"features": features, "lengths": lengths})[0]

    found = np.concatenate(
        [
            scores(one["input_values"].numpy(), [len(audio) for audio in batch])
            for one, batch in zip(inputs, batches, strict=True)
        ]
    )
    error = np.abs(found - expected).max()
    best = found.argmax(-1)
    agreement = (best == expected.argmax(-1)).mean()
    record_property("max_abs_error", float(error))
    assert error <= 1e-3
    assert agreement >= 0.999
    assert len(set(best.tolist())) > 1
    for row in (0, BATCH, 5 * BATCH + 3, CLIPS - 2):  # alone, of batches padded to the longest
        padded = inputs[row // BATCH]["input_values"][row % BATCH, : len(audios[row])].numpy()
        alone = scores(padded[np.newaxis], [len(audios[row])])
        np.testing.assert_allclose(alone[0], found[row], atol=1e-4)
