"""Hidden states, with those of transformers as the oracle."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
)

from embedding_kinds import KINDS, LAYERS
from export_runs import run_export
from mms_engine import (
    AudioError,
    BackendError,
    BundleCorrupt,
    Embedder,
    EmbedderOptions,
    LanguageError,
    WindowOptions,
    read_audio,
)
from mms_engine.backends.hidden_states import hidden_state_graph
from mms_engine.backends.session import GraphFile
from mms_engine.bundle import open_bundle
from mms_export.graphs import writer
from mms_export.parity import SPEECH

SAMPLES = read_audio(SPEECH).samples[: 16_000 * 4]


def oracle(kind: str, checkpoint: Path, language: str | None = None) -> list[np.ndarray]:
    """Return the hidden states `[T, H]` of transformers, the last one behind the final norm."""
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    inputs = extractor(SAMPLES, sampling_rate=16_000, return_tensors="pt")
    if kind == "asr":
        model = Wav2Vec2ForCTC.from_pretrained(checkpoint)
        model.load_adapter(language)
    elif kind == "lid":
        model = Wav2Vec2ForSequenceClassification.from_pretrained(checkpoint)
    else:
        model = Wav2Vec2Model.from_pretrained(checkpoint)
    with torch.inference_mode():
        states = model.eval()(**inputs, output_hidden_states=True).hidden_states
        last = getattr(model, "wav2vec2", model).encoder.layer_norm(states[-1])
        if kind not in ("asr", "lid"):
            torch.testing.assert_close(last, model(**inputs).last_hidden_state)
    return [state[0].numpy() for state in (*states, last)]


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_of_every_layer_are_those_of_transformers(
    kind: str, checkpoints: dict[str, Path], bundles: dict[str, Path]
) -> None:
    language = "swh" if kind == "asr" else None
    expected = oracle(kind, checkpoints[kind], language)
    assert len(expected) == LAYERS + 2
    with Embedder.open(bundles[kind], threads=1) as embedder:
        assert (embedder.layers, embedder.size) == (LAYERS, expected[0].shape[1])
        for layer, states in zip((*range(LAYERS + 1), None), expected, strict=True):
            found = embedder.embed(SAMPLES, layer, "none", language=language)
            np.testing.assert_allclose(found.values, states, atol=1e-3)
            mean = embedder.embed(SAMPLES, layer, "mean", language=language)
            np.testing.assert_allclose(mean.values, states.mean(axis=0), atol=1e-3)
            assert found.layer == layer
    layers = [np.abs(a - b).max() for a, b in itertools.pairwise(expected)]
    assert min(layers) > 0.1  # a neighbouring layer would be noticed


def test_hidden_states_depend_on_the_adapter(bundles: dict[str, Path]) -> None:
    with Embedder.open(bundles["asr"], threads=1) as embedder:
        first, second = (
            embedder.embed(SAMPLES, LAYERS, language=code).values for code in ("eng", "swh")
        )
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_precisions_and_external_data(
    tmp_path: Path,
    checkpoints: dict[str, Path],
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weights of a large graph lie in a file beside it, which the cut graph reads too."""
    monkeypatch.setattr(writer, "INLINE_TOTAL", 0)
    monkeypatch.setattr(writer, "INLINE_TENSOR", 0)
    run_export(checkpoints["pretrained"], tmp_path / "bundle", precisions=(precision,))
    assert (tmp_path / f"bundle/graphs/encoder.{precision}.onnx.data").stat().st_size > 0
    monkeypatch.chdir(tmp_path)  # its folder is relative to the current one
    expected = oracle("pretrained", checkpoints["pretrained"])
    with Embedder.open("bundle", threads=1, precision=precision) as embedder:
        for layer in (0, 1, LAYERS, None):
            states = expected[-1 if layer is None else layer]
            found = embedder.embed(SAMPLES, layer, "none").values
            tolerance = 1e-3 if precision == "fp32" else 0.05 * np.abs(states).max()
            np.testing.assert_allclose(found, states, atol=tolerance)


def test_long_audio_is_embedded_in_windows(bundles: dict[str, Path]) -> None:
    windows = WindowOptions(seconds=1.0, context_seconds=1.0)
    whole = Embedder.open(bundles["pretrained"], threads=1)
    cut = Embedder.open(bundles["pretrained"], options=EmbedderOptions(threads=1, windows=windows))
    expected, found = (one.embed(SAMPLES, 1, "none").values for one in (whole, cut))
    assert found.shape == expected.shape
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).mean() < 0.05 * np.abs(expected).mean()
    np.testing.assert_allclose(
        cut.embed(SAMPLES, 1).values, found.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6
    )


def test_values_do_not_depend_on_threads_batches_and_source(
    tmp_path: Path, bundles: dict[str, Path]
) -> None:
    windows = WindowOptions(seconds=0.5, context_seconds=0.2)
    results = []
    for threads, frames in ((1, 50), (2, 10_000)):
        options = EmbedderOptions(threads=threads, batch_frames=frames, windows=windows)
        with Embedder.open(bundles["pretrained"], options=options) as embedder:
            results.append(embedder.embed(SPEECH, 2, "none").values)
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    with Embedder.open(bundles["pretrained"], options=options) as embedder:
        samples = embedder.embed(read_audio(SPEECH), 2, "none").values
    np.testing.assert_allclose(samples, results[1], atol=1e-5)


def test_plain_model_needs_no_language(bundles: dict[str, Path]) -> None:
    """Without adapters its hidden states are those of every language."""
    with Embedder.open(bundles["plain"], threads=1) as embedder:
        assert embedder.check_language(None) == embedder.bundle.languages[0]


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        ("pretrained", {"layer": LAYERS + 1}, ValueError, f"has 0 to {LAYERS}"),
        ("pretrained", {"layer": -1}, ValueError, "layer is -1"),
        ("pretrained", {"language": "eng"}, LanguageError, "leave out 'eng'"),
        ("lid", {"language": "eng"}, LanguageError, "leave out 'eng'"),
        ("asr", {}, LanguageError, "name one of its 3 languages, such as eng, swh, uzb"),
        ("asr", {"language": "fra"}, LanguageError, "does not have the language 'fra'"),
    ],
)
def test_refused_arguments(
    bundles: dict[str, Path], kind: str, arguments: dict, error: type, message: str
) -> None:
    with Embedder.open(bundles[kind], threads=1) as embedder, pytest.raises(error, match=message):
        embedder.embed(SAMPLES, **arguments)


def test_audio_shorter_than_a_frame_is_refused(bundles: dict[str, Path]) -> None:
    with Embedder.open(bundles["pretrained"], threads=1) as embedder:
        assert embedder.embed(SAMPLES[:400], pool="none").values.shape == (1, embedder.size)
        with pytest.raises(AudioError, match=r"0\.0249375 s of audio are shorter than a frame"):
            embedder.embed(SAMPLES[:399])


def test_plans_are_refused(bundles: dict[str, Path]) -> None:
    with (
        Embedder.open(bundles["pretrained"], backend="tensorrt") as embedder,
        pytest.raises(BackendError, match="runs plans, which have no hidden states"),
    ):
        embedder.embed(SAMPLES)


@pytest.mark.parametrize("kept", [0, 1, 1000, -1])
def test_damaged_graph_is_refused(tmp_path: Path, bundles: dict[str, Path], kept: int) -> None:
    bundle = open_bundle(shutil.copytree(bundles["pretrained"], tmp_path / "bundle"))
    graph, path = bundle.graph("encoder", "fp32")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BundleCorrupt, match="is not the encoder graph"):
        hidden_state_graph(GraphFile(graph, path), 1, LAYERS, 32)


def test_other_graph_is_refused(bundles: dict[str, Path]) -> None:
    file = GraphFile(*open_bundle(bundles["pretrained"]).graph("frontend", "fp32"))
    with pytest.raises(BundleCorrupt, match=r"has no encoder\.layers\.1\.layer_norm"):
        hidden_state_graph(file, 1, LAYERS, 32)
