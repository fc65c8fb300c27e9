"""Step graph against torch, whose KV cache is in order rather than a ring buffer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mms_engine.bundle.kv_cache import cache_names, update_name
from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.graphs.builder import numpy_dtype
from mms_export.graphs.numerics import NUMERICS
from mms_export.parity.execution import bank, empty_cache
from mms_export.parity.network import linear, norm
from mms_export.parity.reference import Reference, reader
from tiny_models import LANGUAGES

CODES = tuple(LANGUAGES)
SLOTS = 12
"""Frames of the ring buffer, fewer than a stream has, so that it wraps around."""
RIGHT = 3
TOLERANCE = {"fp32": 5e-3, "fp16": 5e-2, "int8": 1.5}
"""For logits of up to about 15. Keys and values are rounded to float16 in every precision."""


class StepReference(Reference):
    """Reference network of one stream, step by step."""

    def __init__(self, source: Checkpoint) -> None:
        super().__init__(source.config, source.weights)
        self.kept: dict[str, Tensor] = {}
        """Keys and values `[2, T, H]` of each layer."""
        self._new: dict[str, Tensor] = {}

    def step(self, audio: np.ndarray, history: int, adapter) -> np.ndarray:
        """Return the logits of the frames of `audio` after the first `history`."""
        with torch.inference_mode():
            value = self.project(self.features(torch.from_numpy(audio)[None]))
            value = (value + self.positions(value))[:, history:]
            for index in range(self.config.num_hidden_layers):
                value = self.layer(value, reader(adapter), f"encoder.layers.{index}")
            return self.head(value, reader(adapter))[0].numpy()

    def keep(self, frames: int) -> None:
        """Cache the first frames of the last step."""
        for name, new in self._new.items():
            rounded = new[:, :frames].half().float()
            self.kept[name] = torch.cat([self.kept.get(name, new[:, :0]), rounded], 1)[:, -SLOTS:]

    def attention(self, value: Tensor, name: str, valid: Tensor | None = None) -> Tensor:
        normal = norm(value, self.base, f"{name}.layer_norm")
        queries, *new = (
            linear(normal, self.base, f"{name}.attention.{part}_proj") for part in "qkv"
        )
        self._new[name] = torch.cat(new)
        cached = torch.cat([self.kept.get(name, self._new[name][:, :0]), self._new[name]], 1)
        heads = self.config.num_attention_heads
        split = (
            part.unflatten(-1, (heads, -1)).transpose(-3, -2)
            for part in (queries[0], cached[0], cached[1])
        )
        mixed = functional.scaled_dot_product_attention(*split).transpose(0, 1).flatten(1)[None]
        return linear(mixed, self.base, f"{name}.attention.out_proj")


@dataclass
class Stream:
    """State of a stream in both implementations."""

    language: str
    audio: np.ndarray
    chunk: int
    oracle: StepReference
    ring: np.ndarray
    start: int = 0
    written: int = 0


@dataclass(frozen=True)
class Model:
    """A checkpoint and its graphs."""

    source: Checkpoint
    precision: str
    graphs: dict[str, onnxruntime.InferenceSession]

    @property
    def before(self) -> int:
        return self.source.config.num_conv_pos_embeddings // 2

    def open(self, language: str, frames: int, chunk: int, seed: int) -> Stream:
        config = self.source.config
        audio = np.random.default_rng(seed).standard_normal(
            FrameGeometry.of(config).samples(frames)
        )
        heads = config.num_attention_heads
        shape = (2 * config.num_hidden_layers, heads, SLOTS, config.hidden_size // heads)
        # Slots never written have no effect.
        ring = np.full(shape, 3.0, numpy_dtype(NUMERICS[self.precision].kv_cache))
        return Stream(language, audio.astype(np.float32), chunk, StepReference(self.source), ring)

    def frames(self, stream: Stream) -> int:
        return FrameGeometry.of(self.source.config).frames(len(stream.audio))

    def heard(self, stream: Stream, start: int, end: int) -> np.ndarray:
        return stream.audio[FrameGeometry.of(self.source.config).span(start, end)]


@pytest.fixture(params=["fp32", "fp16", "int8"])
def model(request: pytest.FixtureRequest, checkpoint: Path, bundle: Path) -> Model:
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    graphs = {
        name: onnxruntime.InferenceSession(
            str(bundle / f"graphs/{name}.{request.param}.onnx"), quiet
        )
        for name in ("frontend", "step", "encoder")
    }
    return Model(open_checkpoint(str(checkpoint)), request.param, graphs)


def test_steps_equal_torch_with_kv_cache(model: Model) -> None:
    """Rows of a batch differ in language, chunk, history and cache fill; the ring wraps around."""
    streams = [
        model.open("swh", 36, 7, seed=0),
        model.open("eng", 30, 5, seed=1),
        model.open("uzb-script_latin", 27, 11, seed=2),
        model.open("eng", 23, 20, seed=3),  # a chunk larger than the ring
    ]
    rounds = 0
    while rows := [s for s in streams if s.start < model.frames(s)]:
        run_round(model, rows[rounds % 2 :] or rows)  # one stream pauses in every second round
        rounds += 1
    assert rounds > 5
    assert all(stream.written > SLOTS for stream in streams)


def run_round(model: Model, streams: list[Stream]) -> None:
    """Run a step of each stream in one batch, and compare the logits."""
    spans = [step_span(model, stream) for stream in streams]
    logits, *updates = run_step(model, streams, spans)
    for row, (stream, (history, kept, end)) in enumerate(zip(streams, spans, strict=True)):
        adapter = read_adapter(model.source.adapters[stream.language], model.source.config)
        audio = model.heard(stream, stream.start - history, end)
        expected = stream.oracle.step(audio, history, adapter)
        found = logits[row, : end - stream.start, : expected.shape[1]]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[model.precision])
        stream.oracle.keep(kept - stream.start)
        for frame in range(kept - stream.start):
            for ring, update in zip(stream.ring, updates, strict=True):
                ring[:, stream.written % SLOTS] = update[row, :, frame]
            stream.written += 1
        stream.start = kept


def step_span(model: Model, stream: Stream) -> tuple[int, int, int]:
    """Return the frames of history, and the ends of the chunk and of its right context."""
    frames = model.frames(stream)
    end = min(frames, stream.start + stream.chunk + RIGHT)
    kept = end if end == frames else stream.start + stream.chunk
    return min(stream.start, model.before), kept, end


def run_step(
    model: Model, streams: list[Stream], spans: list[tuple[int, int, int]]
) -> list[np.ndarray]:
    lengths = [end - stream.start for stream, (_, _, end) in zip(streams, spans, strict=True)]
    size = (len(streams), model.before + max(lengths), model.source.config.feature_size)
    features = np.full(size, 7.0, np.float32)  # padding has no effect
    for row, stream, (history, _, end) in zip(features, streams, spans, strict=True):
        audio = model.heard(stream, stream.start - history, end)
        own = model.graphs["frontend"].run(None, {"audio": audio[None]})[0][0]
        row[model.before - history : model.before - history + len(own)] = own
    languages = [stream.language for stream in streams]
    feeds = bank(model.source, languages, NUMERICS[model.precision]) | {
        "features": features,
        "history": np.array([history for history, _, _ in spans]),
        "lengths": np.array(lengths),
        "filled": np.array([min(stream.written, SLOTS) for stream in streams]),
        "keep": np.arange(max(lengths)),
    }
    names = cache_names(model.source.config.num_hidden_layers)
    feeds |= zip(names, np.stack([stream.ring for stream in streams], axis=1), strict=True)
    wanted = ["logits", *map(update_name, names)]
    outputs: list[np.ndarray] = model.graphs["step"].run(wanted, feeds)
    return outputs


def test_step_with_empty_cache_equals_encoder(model: Model) -> None:
    audio = np.random.default_rng(5).standard_normal((3, 9000)).astype(np.float32)
    features = model.graphs["frontend"].run(None, {"audio": audio})[0]
    languages = [CODES[2], CODES[0], CODES[1]]
    feeds = bank(model.source, languages, NUMERICS[model.precision])
    feeds["lengths"] = np.array([features.shape[1], 20, 9])
    expected = model.graphs["encoder"].run(None, feeds | {"features": features})[0]
    start = empty_cache(model.source, features, NUMERICS[model.precision])
    found = model.graphs["step"].run(["logits"], feeds | start)[0]
    tolerance = {"fp32": 1e-4, "int8": 1e-4, "fp16": 2e-2}[model.precision]
    rows = zip(found, expected, feeds["lengths"], languages, strict=True)
    for row, other, length, language in rows:
        vocab = LANGUAGES[language]
        np.testing.assert_allclose(row[:length, :vocab], other[:length, :vocab], atol=tolerance)
