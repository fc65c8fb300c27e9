"""Graphs of speech synthesis at the size of facebook/mms-tts-*, beside transformers' VitsModel."""

from unittest.mock import patch

import numpy as np
import onnxruntime
import pytest
import torch

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.vits.voice import BUILDERS, fold_voice
from mms_export.graphs.writer import model_bytes
from tiny_voices import voice_model

CONFIG = Vits()
MARGIN = 74
"""Steps of context on each side of a part, of 8 a frame."""
FRAMES, TOKENS = 40, 31


class FullSize:
    """A random voice: transformers' model, and the graphs with its weights."""

    def __init__(self, vocab_size: int) -> None:
        self.model = voice_model(vocab_size, seed=vocab_size)
        names = {"original0": "weight_g", "original1": "weight_v"}
        tensors = {}
        for name, tensor in self.model.state_dict().items():
            stem, _, last = name.rpartition(".parametrizations.weight.")
            tensors[f"{stem}.{names[last]}" if stem else name] = tensor.numpy()
        weights = Weights({n: t.shape for n, t in tensors.items()}, tensors.__getitem__)
        self.tensors = dict(fold_voice(CONFIG, weights, vocab_size))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        graphs = (build(CONFIG, weights, NUMERICS["fp32"]) for build in BUILDERS)
        self.sessions = {
            graph.name: onnxruntime.InferenceSession(
                model_bytes(graph, []), options, ["CPUExecutionProvider"]
            )
            for graph in graphs
        }

    def __call__(self, graph: str, **activations: np.ndarray) -> list[np.ndarray]:
        session = self.sessions[graph]
        names = {value.name for value in session.get_inputs()} - activations.keys()
        return session.run(None, activations | {name: self.tensors[name] for name in names})


@pytest.fixture(scope="module", params=[38, 71])
def voice(request: pytest.FixtureRequest) -> FullSize:
    return FullSize(request.param)


def test_text_is_that_of_transformers(voice: FullSize) -> None:
    random = np.random.default_rng(0)
    ids = random.integers(0, voice.model.config.vocab_size, (1, TOKENS))
    noise = 0.8 * random.standard_normal((1, 2, TOKENS), dtype=np.float32)
    found = voice("text", ids=ids, lengths=np.array([TOKENS]), duration_noise=noise)
    mask = torch.ones(1, TOKENS, 1)
    with torch.inference_mode(), patch.object(torch, "randn", lambda *_: torch.from_numpy(noise)):
        text = voice.model.text_encoder(torch.from_numpy(ids), mask, torch.ones(1, TOKENS))
        hidden = text.last_hidden_state.mT
        logs = voice.model.duration_predictor(hidden, mask.mT, None, reverse=True, noise_scale=1)
    expected = text.prior_means.mT, text.prior_log_variances.mT, logs[:, 0]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
    np.testing.assert_array_equal(
        *(np.ceil(np.exp(part)) for part in (found[2], logs[:, 0].numpy()))
    )


def test_samples_are_those_of_transformers_whole_and_in_parts(voice: FullSize) -> None:
    random = np.random.default_rng(1)
    latents = 0.667 * random.standard_normal((1, CONFIG.flow_size, FRAMES), dtype=np.float32)
    (features,) = voice("flow", latents=latents, lengths=np.array([FRAMES]))
    steps = features.shape[2]
    (whole,) = voice("decoder", features=features, valid=np.array([[0, steps]]))
    with torch.inference_mode():
        values = voice.model.flow(torch.from_numpy(latents), torch.ones(1, 1, FRAMES), reverse=True)
        expected = voice.model.decoder(values)[0].numpy()
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    assert 0.01 < np.abs(whole).max() < 0.999
    per_step = whole.shape[1] // steps
    for size in (32, 128):
        parts = []
        for start in range(0, steps, size):
            end = min(start + size, steps)
            low, high = max(0, start - MARGIN), min(steps, end + MARGIN)
            window = np.ascontiguousarray(features[:, :, low:high])
            (part,) = voice("decoder", features=window, valid=np.array([[0, high - low]]))
            parts.append(part[:, (start - low) * per_step : (end - low) * per_step])
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_masked_branch_gives_the_bits_of_the_branch_without(voice: FullSize) -> None:
    random = np.random.default_rng(2)
    features = random.standard_normal((1, CONFIG.channels(0), 96), dtype=np.float32)
    (alone,) = voice("decoder", features=features, valid=np.array([[0, 96]]))
    padded = np.concatenate([features, np.full_like(features[:, :, :24], 9.0)], axis=2)
    (masked,) = voice("decoder", features=padded, valid=np.array([[0, 96]]))
    np.testing.assert_array_equal(masked[:, : alone.shape[1]], alone)
