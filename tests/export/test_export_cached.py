"""The graph `cached` against torch, which keeps keys and values in order and has no ring."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.config import LAYER_NORM_EPS, Config
from mms_export.checkpoints.open import read_adapter
from mms_export.checkpoints.weights import Weights
from mms_export.graphs.builder import numpy_dtype
from mms_export.graphs.numerics import NUMERICS
from mms_export.reference import Reference
from mms_export.rehearsal import bank, no_past
from mms_export.sources import open_source
from tiny_models import LANGUAGES

CODES = tuple(LANGUAGES)
PLACES = 12
"""Of the ring: fewer than a stream has frames, so that it is written over."""
RIGHT = 3
TOLERANCE = {"fp32": 5e-3, "fp16": 5e-2, "int8": 1.5}
"""Of logits of up to about 15. Keys and values are rounded to float16 in each precision."""


class StepReference(Reference):
    """The network in torch for one stream, step by step."""

    def __init__(self, config: Config, base: Weights) -> None:
        super().__init__(config, base)
        self._sizes = config
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}
        self._new: dict[str, tuple[Tensor, Tensor]] = {}

    def step(self, audio: np.ndarray, history: int, adapter: Weights) -> np.ndarray:
        """Return logits of the frames of `audio` behind the first `history`."""
        with torch.inference_mode():
            value = self._features(torch.from_numpy(audio)[None])
            value = (value + self._positions(value))[:, history:]
            for index in range(self._sizes.num_hidden_layers):
                (value,) = self._layer([value], [adapter], f"encoder.layers.{index}")
            return self._head(value, adapter).numpy()

    def keep(self, frames: int) -> None:
        """Remember the first frames of the last step."""
        for name, pair in self._new.items():
            new = [part[:, :frames].half().float() for part in pair]
            old = self.kept.get(name, (new[0][:, :0], new[1][:, :0]))
            keys, values = (
                torch.cat([a, b], 1)[:, -PLACES:] for a, b in zip(old, new, strict=True)
            )
            self.kept[name] = keys, values

    def _attention(self, value: Tensor, base: Weights, name: str) -> Tensor:
        def linear(of: Tensor, part: str) -> Tensor:
            weight, bias = (base.read(f"{name}.attention.{part}.{n}") for n in ("weight", "bias"))
            return functional.linear(of, torch.from_numpy(weight), torch.from_numpy(bias))

        norm = [torch.from_numpy(base.read(f"{name}.layer_norm.{n}")) for n in ("weight", "bias")]
        normal = functional.layer_norm(value, value.shape[-1:], *norm, LAYER_NORM_EPS)
        queries, keys, values = (linear(normal, f"{part}_proj") for part in "qkv")
        self._new[name] = keys, values
        if name in self.kept:
            keys = torch.cat([self.kept[name][0], keys], 1)
            values = torch.cat([self.kept[name][1], values], 1)
        heads = self._sizes.num_attention_heads
        split = (of.unflatten(2, (heads, -1)).transpose(1, 2) for of in (queries, keys, values))
        mixed = functional.scaled_dot_product_attention(*split)
        return linear(mixed.transpose(1, 2).flatten(2), "out_proj")


@dataclass
class Stream:
    """A stream on both sides."""

    language: str
    audio: np.ndarray
    chunk: int
    oracle: StepReference
    ring: np.ndarray
    start: int = 0
    written: int = 0
    differences: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Model:
    """A checkpoint, its geometry and graphs."""

    source: object
    geometry: FrameGeometry
    frontend: onnxruntime.InferenceSession
    cached: onnxruntime.InferenceSession
    encoder: onnxruntime.InferenceSession
    precision: str

    @property
    def before(self) -> int:
        return self.source.config.num_conv_pos_embeddings // 2

    def open(self, language: str, frames: int, chunk: int, seed: int) -> Stream:
        config = self.source.config
        audio = np.random.default_rng(seed).standard_normal(self.geometry.samples(frames))
        heads = config.num_attention_heads
        shape = (config.num_hidden_layers, 2, heads, PLACES, config.hidden_size // heads)
        # What was never written has no effect.
        ring = np.full(shape, 3.0, numpy_dtype(NUMERICS[self.precision].memory))
        oracle = StepReference(config, self.source.weights)
        return Stream(language, audio.astype(np.float32), chunk, oracle, ring)

    def heard(self, stream: Stream, start: int, end: int) -> np.ndarray:
        return stream.audio[self.geometry.span(start, end)]


@pytest.fixture(params=["fp32", "fp16", "int8"])
def model(request: pytest.FixtureRequest, checkpoint: Path, bundle: Path) -> Model:
    source = open_source(str(checkpoint))
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    sessions = [
        onnxruntime.InferenceSession(str(bundle / f"graphs/{stage}.{request.param}.onnx"), quiet)
        for stage in ("frontend", "cached", "encoder")
    ]
    geometry = FrameGeometry.of(source.config.architecture())
    return Model(source, geometry, *sessions, request.param)


def test_steps_equal_torch_that_keeps_keys_and_values(model: Model) -> None:
    """Rows of one batch: other languages, chunks, histories and fills; the ring goes round."""
    streams = [
        model.open("swh", 36, 7, seed=0),
        model.open("eng", 30, 5, seed=1),
        model.open("uzb-script_latin", 27, 11, seed=2),
        model.open("eng", 23, 20, seed=3),  # a chunk larger than the ring
    ]
    rounds = 0
    while rows := [s for s in streams if s.start < model.geometry.frames(len(s.audio))]:
        _round(model, rows[rounds % 2 :] or rows)  # one of them waits in every second round
        rounds += 1
    assert rounds > 5
    assert all(stream.written > PLACES for stream in streams)
    worst = max(difference for stream in streams for difference in stream.differences)
    assert worst < TOLERANCE[model.precision]


def _round(model: Model, streams: list[Stream]) -> None:
    """Run a step of each stream in one batch, and compare it."""
    spans = [_span(model, stream) for stream in streams]
    logits, update = _run(model, streams, spans)
    for row, (stream, (history, kept, end)) in enumerate(zip(streams, spans, strict=True)):
        adapter = read_adapter(model.source.adapters[stream.language], model.source.config)
        audio = model.heard(stream, stream.start - history, end)
        expected = stream.oracle.step(audio, history, adapter)
        found = logits[row, : end - stream.start, : expected.shape[1]]
        stream.differences.append(float(np.abs(found - expected).max()))
        stream.oracle.keep(kept - stream.start)
        for frame in range(kept - stream.start):
            stream.ring[..., stream.written % PLACES, :] = update[row, ..., frame, :]
            stream.written += 1
        stream.start = kept


def _span(model: Model, stream: Stream) -> tuple[int, int, int]:
    """Return frames of history, and the ends of the chunk and of its right context."""
    frames = model.geometry.frames(len(stream.audio))
    end = min(frames, stream.start + stream.chunk + RIGHT)
    kept = end if end == frames else stream.start + stream.chunk
    return min(stream.start, model.before), kept, end


def _run(
    model: Model, streams: list[Stream], spans: list[tuple[int, int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    config = model.source.config
    lengths = [end - stream.start for stream, (_, _, end) in zip(streams, spans, strict=True)]
    size = (len(streams), model.before + max(lengths), config.feature_size)
    features = np.full(size, 7.0, np.float32)  # what is padded has no effect
    for row, stream, (history, _, end) in zip(features, streams, spans, strict=True):
        audio = model.heard(stream, stream.start - history, end)
        own = model.frontend.run(None, {"audio": audio[None]})[0][0]
        row[model.before - history : model.before - history + len(own)] = own
    filled = [min(stream.written, PLACES) for stream in streams]
    rings = np.stack([stream.ring for stream in streams])
    feeds = bank(model.source, CODES, NUMERICS[model.precision]) | {
        "features": features,
        "history": np.array([history for history, _, _ in spans]),
        "lengths": np.array(lengths),
        "slot": np.array([CODES.index(stream.language) for stream in streams]),
        "cache": rings,
        "filled": np.array(filled),
    }
    logits, update = model.cached.run(["logits", "update"], feeds)
    return logits, update


def test_a_step_without_a_past_is_the_encoder(model: Model) -> None:
    audio = np.random.default_rng(5).standard_normal((3, 9000)).astype(np.float32)
    features = model.frontend.run(None, {"audio": audio})[0]
    feeds = bank(model.source, CODES, NUMERICS[model.precision])
    feeds |= {"lengths": np.array([features.shape[1], 20, 9]), "slot": np.array([2, 0, 1])}
    expected = model.encoder.run(None, feeds | {"features": features})[0]
    step = no_past(model.source, features, NUMERICS[model.precision])
    found = model.cached.run(["logits"], feeds | step)[0]
    tolerance = {"fp32": 1e-4, "int8": 1e-4, "fp16": 2e-2}[model.precision]
    rows = zip(found, expected, feeds["lengths"], feeds["slot"], strict=True)
    for row, other, length, slot in rows:
        vocab = LANGUAGES[CODES[slot]]
        np.testing.assert_allclose(row[:length, :vocab], other[:length, :vocab], atol=tolerance)
