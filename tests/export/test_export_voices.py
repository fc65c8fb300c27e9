"""Export of speech synthesis, with transformers' VitsModel of the same weights as the oracle."""

import json
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import VitsModel

from export_runs import digests, edit_tensors, invoke, run_export
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Vits
from mms_engine.bundle.voices import load_voice, read_voice
from mms_engine.errors import MmsError
from mms_export.checkpoints.open import open_model
from mms_export.checkpoints.voices import read_voice_tensors
from mms_export.graphs.contract import graph_path
from mms_export.graphs.vits.voice import ACTIVATIONS, fold_voice, voice_shapes
from tiny_voices import CODES, LETTERS, TINY, as_fairseq, make_voice

TOKENS, FRAMES = (23, 41, 1), (37, 60, 5)


@pytest.fixture(scope="module")
def checkpoint(voices: Path) -> Path:
    return voices


@pytest.fixture(scope="module")
def bundle(voices_bundle: Path) -> Path:
    return voices_bundle


class Graphs:
    """Graphs of a bundle with one voice, on ONNX Runtime."""

    def __init__(self, bundle: Path, code: str, precision: str = "fp32", threads: int = 1) -> None:
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.bundle, self.precision = bundle, precision
        entry = open_bundle(bundle).manifest.data[code]
        self.tensors = dict(load_voice(bundle / entry.file.path).tensors)
        if precision == "int8":
            self.tensors |= load_voice(bundle / entry.int8.path).tensors

    def __call__(self, name: str, **activations: np.ndarray) -> list[np.ndarray]:
        path = graph_path(self.bundle, name, self.precision)
        session = onnxruntime.InferenceSession(str(path), self.options, ["CPUExecutionProvider"])
        names = {value.name for value in session.get_inputs()} - activations.keys()
        return session.run(None, activations | {key: self.tensors[key] for key in names})


def texts(rows: int) -> dict[str, np.ndarray]:
    """Return the inputs of the text graph: three rows of different lengths in one batch."""
    random = np.random.default_rng(rows)
    shape = (len(TOKENS), max(TOKENS))
    return {
        "ids": random.integers(0, rows, shape),
        "lengths": np.array(TOKENS),
        "duration_noise": random.standard_normal((shape[0], 2, shape[1]), dtype=np.float32),
    }


def latents(config: Vits) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    shape = (len(FRAMES), config.flow_size, max(FRAMES))
    values = random.standard_normal(shape, dtype=np.float32)
    return {"latents": values, "lengths": np.array(FRAMES)}


def oracle_text(model: VitsModel, inputs: dict[str, np.ndarray], row: int) -> list[np.ndarray]:
    """Return means, log-scales and log-durations of one row alone."""
    size = int(inputs["lengths"][row])
    ids = torch.from_numpy(inputs["ids"][row : row + 1, :size])
    noise = torch.from_numpy(inputs["duration_noise"][row : row + 1, :, :size])
    mask = torch.ones(1, size, 1)
    with torch.inference_mode(), patch.object(torch, "randn", lambda *_: noise):
        text = model.text_encoder(ids, mask, torch.ones(1, size))
        hidden = text.last_hidden_state.mT
        durations = model.duration_predictor(hidden, mask.mT, None, reverse=True, noise_scale=1)
    parts = text.prior_means.mT, text.prior_log_variances.mT, durations[:, 0]
    return [part.numpy() for part in parts]


def oracle_samples(model: VitsModel, inputs: dict[str, np.ndarray], row: int) -> np.ndarray:
    size = int(inputs["lengths"][row])
    values = torch.from_numpy(inputs["latents"][row : row + 1, :, :size])
    with torch.inference_mode():
        return model.decoder(model.flow(values, torch.ones(1, 1, size), reverse=True))[0].numpy()


def decoded(graphs: Graphs, config: Vits, inputs: dict[str, np.ndarray]) -> np.ndarray:
    (features,) = graphs("flow", **inputs)
    ends = inputs["lengths"] * config.upsample_rates[0]
    valid = np.stack([np.zeros_like(ends), ends], axis=1)
    return graphs("decoder", features=features, valid=valid)[0]


@pytest.mark.parametrize("code", CODES)
def test_stages_are_those_of_transformers(checkpoint: Path, bundle: Path, code: str) -> None:
    """Rows of a padded batch are compared with transformers' result of each row alone."""
    model = VitsModel.from_pretrained(checkpoint / code).eval()
    config, graphs = open_bundle(bundle).model(Vits), Graphs(bundle, code)
    inputs = texts(model.config.vocab_size)
    found = graphs("text", **inputs)
    for row, size in enumerate(TOKENS):
        for ours, theirs in zip(found, oracle_text(model, inputs, row), strict=True):
            np.testing.assert_allclose(ours[row, ..., :size], theirs[0], atol=1e-4, rtol=5e-5)
            assert not ours[row, ..., size:].any()
    durations = [np.ceil(np.exp(found[2][0, : TOKENS[0]])), oracle_text(model, inputs, 0)[2][0]]
    np.testing.assert_array_equal(durations[0], np.ceil(np.exp(durations[1])))
    inputs = latents(config)
    samples = decoded(graphs, config, inputs)
    per_frame = int(np.prod(config.upsample_rates))
    for row, size in enumerate(FRAMES):
        expected = oracle_samples(model, inputs, row)[0]
        np.testing.assert_allclose(samples[row, : size * per_frame], expected, atol=1e-4)
    assert 0.001 < np.abs(samples).max() < 0.9  # neither silent nor saturated


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_row_of_batch_is_row_alone_and_padding_has_no_effect(bundle: Path, precision: str) -> None:
    config, graphs = open_bundle(bundle).model(Vits), Graphs(bundle, "swh", precision)
    inputs = latents(config)
    together = decoded(graphs, config, inputs)
    per_frame = int(np.prod(config.upsample_rates))
    tolerance = 1e-6 if precision == "fp32" else 0.02 * np.abs(together).max()
    for row, size in enumerate(FRAMES):
        alone = {
            "latents": inputs["latents"][row : row + 1, :, :size],
            "lengths": inputs["lengths"][row : row + 1],
        }
        expected = decoded(graphs, config, alone)[0]
        np.testing.assert_allclose(together[row, : len(expected)], expected, atol=tolerance)
        assert len(expected) == size * per_frame
    for row, size in enumerate(FRAMES):
        inputs["latents"][row, :, size:] = 50.0
    again = decoded(graphs, config, inputs)
    for row, size in enumerate(FRAMES):
        np.testing.assert_array_equal(
            again[row, : size * per_frame], together[row, : size * per_frame]
        )


def test_spline_is_identity_beyond_its_tails_and_finite(checkpoint: Path, bundle: Path) -> None:
    model = VitsModel.from_pretrained(checkpoint / "eng").eval()
    inputs = texts(model.config.vocab_size)
    inputs["duration_noise"] *= 6  # many values beyond 5
    inputs["duration_noise"][0, :, :4] = [[5.0, -5.0, 0.0, 5.0000005], [-5.0, 5.0, 100.0, -9.0]]
    found = Graphs(bundle, "eng")("text", **inputs)[2]
    assert np.isfinite(found).all()
    for row, size in enumerate(TOKENS):
        expected = oracle_text(model, inputs, row)[2][0]
        np.testing.assert_allclose(found[row, :size], expected, atol=1e-4)


def test_voice_file_holds_exactly_the_weights_of_the_graphs(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    entry = manifest.data["yor"]
    loaded = load_voice(bundle / entry.file.path)
    voice, tensors = loaded.voice, loaded.tensors
    assert voice.fingerprint == manifest.source.fingerprint
    assert list(voice.vocabulary.items())[:2] == [(" ", 0), ("a", 1)]
    assert {n: t.shape for n, t in tensors.items()} == voice_shapes(
        manifest.model, len(voice.vocabulary)
    )
    quantized = load_voice(bundle / entry.int8.path).tensors
    assert not tensors.keys() & quantized.keys()
    for graph in manifest.graphs:
        names = [tensor.name for tensor in graph.inputs]
        weights = [name for name in names if name not in ACTIVATIONS]
        assert names[-len(weights) :] == weights
        known = quantized | tensors if graph.precision == "int8" else tensors
        assert set(weights) <= known.keys()
        for tensor in graph.inputs:
            if tensor.name in quantized:
                assert known[tensor.name].dtype == tensor.dtype
                assert known[tensor.name].shape == tensor.shape
    used = {t.name for g in manifest.graphs for t in g.inputs if g.precision == "fp32"}
    assert used - ACTIVATIONS == tensors.keys()


def test_int8_decoder_is_near_fp32(bundle: Path) -> None:
    config = open_bundle(bundle).model(Vits)
    rows = texts(22)
    means, log_scales, _ = Graphs(bundle, "yor")("text", **rows)
    noise = np.random.default_rng(3).standard_normal(means.shape, dtype=np.float32)
    values = {"latents": means + 0.667 * np.exp(log_scales) * noise, "lengths": rows["lengths"]}
    exact = decoded(Graphs(bundle, "yor"), config, values)
    coarse = decoded(Graphs(bundle, "yor", "int8"), config, values)
    error = exact - coarse
    size = TOKENS[0] * int(np.prod(config.upsample_rates))
    signal = exact[0, :size] - exact[0, :size].mean()
    assert 10 * np.log10(np.square(signal).mean() / np.square(error[0, :size]).mean()) > 10
    assert np.abs(error).max() > 0  # it is another graph


def test_fairseq_and_hub_layouts_give_the_same_voice(tmp_path: Path) -> None:
    # fairseq's files do not have these sizes, which are fixed.
    fixed = {"prior_encoder_num_wavenet_layers": 4, "depth_separable_num_layers": 3}
    voice = make_voice(tmp_path / "hub" / "swh", "swh", **(TINY | fixed))
    folder = as_fairseq(voice, tmp_path / "fairseq" / "swh")
    for name in ("fairseq", "hub"):
        manifest = run_export(tmp_path / name, tmp_path / f"{name}.bundle")
        assert list(manifest.data) == ["swh"]
    files = [tmp_path / f"{name}.bundle/voices/swh.safetensors" for name in ("fairseq", "hub")]
    ours, theirs = map(load_voice, files)
    assert ours.voice == theirs.voice
    for name, tensor in theirs.tensors.items():
        np.testing.assert_array_equal(ours.tensors[name], tensor, err_msg=name)
    assert files[0].read_bytes() == files[1].read_bytes()
    for name in ("G_100000.pth", "G_99.pth"):  # the named one, not the one trained longest
        alone = open_model(str(folder / name), "swh")
        assert alone.files["swh"].path == folder / name


def test_odd_number_of_flows_is_folded(tmp_path: Path) -> None:
    """The flip that an odd number leaves is folded into the decoder's first convolution."""
    sizes = TINY | {"prior_encoder_num_flows": 3, "duration_predictor_num_flows": 3}
    make_voice(tmp_path / "eng", "eng", **sizes)
    run_export(tmp_path / "eng", tmp_path / "bundle", data_dtype="float32")
    model = VitsModel.from_pretrained(tmp_path / "eng").eval()
    config, graphs = (
        open_bundle(tmp_path / "bundle").model(Vits),
        Graphs(tmp_path / "bundle", "eng"),
    )
    inputs = texts(len(LETTERS))
    found = graphs("text", **inputs)[2][1]
    np.testing.assert_allclose(found, oracle_text(model, inputs, 1)[2][0], atol=1e-4)
    inputs = latents(config)
    expected = oracle_samples(model, inputs, 1)[0]
    np.testing.assert_allclose(decoded(graphs, config, inputs)[1], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_speakers", 3, "num_speakers is 3"),
        ("use_stochastic_duration_prediction", False, "use_stochastic_duration_prediction"),
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("upsample_rates", [4], "upsample_kernel_sizes has not one kernel"),
        ("hidden_size", "big", "is not the configuration of VITS"),
        ("vocab_size", 5, "has the id 5, the embedding 5 rows"),
    ],
)
def test_config_that_graphs_are_not_for_is_one_error(
    checkpoint: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    voice = shutil.copytree(checkpoint / "eng", tmp_path / "eng")
    path = voice / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(MmsError, match=message):
        run_export(voice, tmp_path / "out")


def test_damaged_voice_is_skipped_and_named(checkpoint: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(checkpoint, tmp_path / "damaged")
    path = damaged / "swh" / "model.safetensors"
    edit_tensors(path, lambda t: t["decoder.conv_post.weight"].fill_(float("nan")))
    edit_tensors(
        damaged / "yor" / "model.safetensors", lambda t: t.pop("flow.flows.0.conv_pre.weight")
    )
    result = invoke("--model", damaged, "--out", tmp_path / "out", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert "decoder.conv_post.weight has values not finite" in result.stderr
    assert "the checkpoint has no flow.flows.0.conv_pre.weight" in result.stderr
    assert list(open_bundle(tmp_path / "out").manifest.data) == ["eng"]


def test_voices_and_precisions_are_added_to_a_bundle(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    run_export(checkpoint, out, languages="swh")
    run_export(checkpoint, out, languages="eng,yor")
    before = digests(out)
    assert sorted(open_bundle(out).languages) == list(CODES)
    run_export(checkpoint, out, languages="yor", precisions=("fp32", "int8"))
    entries = open_bundle(out).manifest.data
    assert [code for code, entry in entries.items() if entry.int8] == ["yor"]
    assert {n: d for n, d in digests(out).items() if n in before and n != "manifest.json"} == {
        n: d for n, d in before.items() if n != "manifest.json"
    }
    whole = tmp_path / "whole"
    run_export(checkpoint, whole)
    assert (whole / "voices/eng.safetensors").read_bytes() == (
        out / "voices/eng.safetensors"
    ).read_bytes()


def test_hub_prefix_exports_named_voices_from_cache(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in ("eng", "swh"):
        folder = tmp_path / "hub" / f"models--facebook--mms-tts-{code}"
        shutil.copytree(checkpoint / code, folder / "snapshots" / "0")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    options = ("--model", "facebook/mms-tts", "--precision", "fp32", "--lang")
    result = invoke(*options, "swh", "--out", tmp_path / "one")
    assert result.exit_code == 0, result.output
    assert read_voice(tmp_path / "one/voices/swh.safetensors").source == "facebook/mms-tts-swh"
    result = invoke(*options, "all", "--out", tmp_path / "every")
    assert result.exit_code == 0, result.output
    assert "only voices in the local hub cache" in result.stderr
    assert sorted(open_bundle(tmp_path / "every").languages) == ["eng", "swh"]
    result = invoke(*options, "yor", "--out", tmp_path / "none")
    assert result.exit_code == 1
    assert "facebook/mms-tts-yor" in result.stderr


def test_folded_weights_are_deterministic_and_none_is_unused(checkpoint: Path) -> None:
    file = open_model(str(checkpoint), "eng").files["eng"]
    first, second = (
        dict(fold_voice(file.config, read_voice_tensors(file), file.rows)) for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not any("posterior" in name or "post_" in name.split(".")[1] for name in first)
