"""Graphs against transformers, independent of batching."""

import functools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2ForCTC

from mms_engine.bank.heads import PAGE_TOKENS
from mms_engine.bundle import open_bundle
from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.open import open_checkpoint
from mms_export.graphs.numerics import NUMERICS
from mms_export.parity.execution import bank, run_graph
from tiny_models import LANGUAGES

CODES = tuple(LANGUAGES)


@functools.cache
def session(bundle: Path, name: str, precision: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(bundle / "graphs" / f"{name}.{precision}.onnx"))


@functools.cache
def model(checkpoint: Path, language: str) -> Wav2Vec2ForCTC:
    return Wav2Vec2ForCTC.from_pretrained(
        checkpoint, target_lang=language, ignore_mismatched_sizes=True
    ).eval()


def expected(checkpoint: Path, language: str, clip: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(checkpoint, language)(torch.from_numpy(clip)[None]).logits[0].numpy()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def feeds_of(checkpoint: Path, precision: str, languages, features, lengths) -> dict:
    source = open_checkpoint(str(checkpoint))
    rows = {"features": features, "lengths": np.array(lengths)}
    return bank(source, languages, NUMERICS[precision]) | rows


def run(
    checkpoint: Path,
    bundle: Path,
    rows: list[tuple[str, np.ndarray]],
    *,
    precision: str = "fp32",
    garbage: float = 0.0,
) -> list[np.ndarray]:
    """Return the logits of each clip, computed as one batch of several languages."""
    geometry = FrameGeometry.of(open_checkpoint(str(checkpoint)).config)
    audio = np.zeros((len(rows), max(len(clip) for _, clip in rows)), np.float32)
    for row, (_, clip) in zip(audio, rows, strict=True):
        row[: len(clip)] = clip
    features = session(bundle, "frontend", precision).run(None, {"audio": audio})[0]
    lengths = [geometry.frames(len(clip)) for _, clip in rows]
    for row, length in zip(features, lengths, strict=True):
        row[length:] += garbage
    feeds = feeds_of(checkpoint, precision, [code for code, _ in rows], features, lengths)
    logits = session(bundle, "encoder", precision).run(None, feeds)[0]
    return [
        row[:length, : LANGUAGES[language]]
        for row, length, (language, _) in zip(logits, lengths, rows, strict=True)
    ]


@pytest.mark.parametrize("samples", [400, 719, 720, 721, 1039, 1040, 16000, 16001, 16159, 31997])
@pytest.mark.parametrize("language", CODES)
def test_float32_equals_transformers(checkpoint, bundle, language, samples):
    clip = noise(samples, seed=samples)
    (found,) = run(checkpoint, bundle, [(language, clip)])
    wanted = expected(checkpoint, language, clip)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=5e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(CODES), st.integers(400, 9000)), min_size=2, max_size=5),
    st.sampled_from(["fp32", "int8"]),
)
def test_clip_alone_equals_clip_in_mixed_padded_batch(checkpoint, bundle, rows, precision):
    clips = [(language, noise(samples, seed=i)) for i, (language, samples) in enumerate(rows)]
    together = run(checkpoint, bundle, clips, precision=precision)
    for clip, found in zip(clips, together, strict=True):
        (alone,) = run(checkpoint, bundle, [clip], precision=precision)
        np.testing.assert_allclose(found, alone, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_bit_of_a_long_clip_depends_on_threads_and_no_logit_on_padding(
    checkpoint, bundle, precision
):
    """More frames than ONNX Runtime's fused attention takes at once."""
    features = noise(3 * 600 * 16).reshape(3, 600, 16)
    path = str(bundle / "graphs" / f"encoder.{precision}.onnx")

    def logits(threads: int, rows: int, frames: int) -> np.ndarray:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        lengths = [470, 600, 333][:rows]
        feeds = feeds_of(checkpoint, precision, CODES[:rows], features[:rows, :frames], lengths)
        encoder = onnxruntime.InferenceSession(path, options)
        return encoder.run(None, feeds)[0][0, :470, : LANGUAGES[CODES[0]]]

    alone = logits(1, 1, 470)
    for threads in (2, 3):
        np.testing.assert_array_equal(logits(threads, 1, 470), alone)
    np.testing.assert_allclose(logits(1, 1, 600), alone, atol=1e-4)
    np.testing.assert_allclose(logits(2, 3, 600), alone, atol=1e-4)


@pytest.mark.parametrize("garbage", [1e3, np.inf, np.nan])
def test_frames_beyond_a_length_have_no_effect(checkpoint, bundle, garbage):
    rows = [("eng", noise(9000)), ("swh", noise(3000, seed=1))]
    clean = run(checkpoint, bundle, rows)
    dirty = run(checkpoint, bundle, rows, garbage=garbage)
    for one, other in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(one, other)


def test_row_of_length_zero_is_finite_and_harmless(checkpoint, bundle):
    features = noise(2 * 7 * 16).reshape(2, 7, 16)
    feeds = feeds_of(checkpoint, "fp32", CODES[2:] * 2, features, [7, 7])  # the largest vocabulary
    encoder = session(bundle, "encoder", "fp32")
    empty = encoder.run(None, feeds | {"lengths": np.array([7, 0])})[0]
    full = encoder.run(None, feeds)[0]
    assert np.isfinite(empty[..., : LANGUAGES[CODES[2]]]).all()
    np.testing.assert_array_equal(empty[0], full[0])


def test_tokens_of_other_languages_are_impossible(checkpoint, bundle):
    feeds = feeds_of(checkpoint, "fp32", CODES[1:2], noise(5 * 16).reshape(1, 5, 16), [5])
    logits = session(bundle, "encoder", "fp32").run(None, feeds)[0]
    assert logits.shape[-1] == PAGE_TOKENS
    assert np.isneginf(logits[..., LANGUAGES[CODES[1]] :]).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 0.05), ("bf16", 0.4), ("int8", 1.0)])
def test_other_precisions_are_close_to_float32_but_differ(checkpoint, bundle, precision, tolerance):
    """Differences from float32 also show that 16-bit graphs run with rounding."""
    clip = noise(16000)
    wanted = expected(checkpoint, "eng", clip)
    features = run_graph(bundle, "frontend", precision, {"audio": clip[None]})
    feeds = feeds_of(checkpoint, precision, ("eng",), features, [features.shape[1]])
    found = run_graph(bundle, "encoder", precision, feeds)[0]
    error = np.abs(found[:, : wanted.shape[1]] - wanted).max()
    assert 1e-4 < error < tolerance


def test_graphs_are_valid_onnx_with_known_dimensions_and_no_paths(bundle):
    manifest = open_bundle(bundle).manifest
    for graph in manifest.graphs:
        path = bundle / graph.files[0].path
        if graph.precision != "int8":  # uses an operator of ONNX Runtime
            onnx.checker.check_model(str(path), full_check=True)
        assert str(bundle.parent.parent).encode() not in path.read_bytes()
        proto = onnx.load(path)
        assert not proto.metadata_props
        assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
        names = {d for tensor in graph.inputs for d in tensor.shape if isinstance(d, str)}
        allowed = {
            "batch",
            "samples",
            "frames",
            "slots",
            "pages",
            "bank_pages",
            "input_frames",
            "cache_slots",
            "kept_frames",
        }
        assert names <= allowed


def test_bank_has_the_declared_dtype(bundle):
    kinds = {"fp32": "float32", "int8": "float32", "fp16": "float16", "bf16": "bfloat16"}
    for graph in open_bundle(bundle).manifest.graphs:
        inputs = {tensor.name: tensor for tensor in graph.inputs}
        if graph.name == "encoder":
            assert inputs["adapters"].dtype == kinds[graph.precision]
            assert inputs["head_weight"].dtype == kinds[graph.precision]
            assert inputs["head_bias"].dtype == kinds[graph.precision]
            assert inputs["adapters"].shape[0] == "slots"
