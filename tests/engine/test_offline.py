"""Offline encoding of whole utterances, with each kind of sink and without adapters."""

import numpy as np
import pytest

from engine_sounds import RATE, sound
from mms_engine import Audio, Recognizer, WindowOptions
from mms_engine.audio import Normalization, normalize, statistics
from mms_engine.bundle.manifest import Tensor
from mms_engine.encoder.batches import WindowRow
from mms_engine.encoder.emission import HostEmission, Segment
from mms_engine.encoder.host.graphs import run_encoder
from mms_engine.encoder.offline import OfflineEncoder, PooledSink
from mms_engine.encoder.windows import Window


class LogitsSink:
    """Sink that keeps all logits."""

    def __init__(self) -> None:
        self._parts: dict[int, list[np.ndarray]] = {}

    def take(self, rows: list[WindowRow], emission: HostEmission) -> None:
        for row, logits in zip(rows, emission.rows(), strict=True):
            self._parts.setdefault(row.utterance, []).append(logits[row.window.kept])

    def pop(self, utterance: int) -> np.ndarray:
        parts = self._parts.pop(utterance, [])
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def encode(recognizer: Recognizer, audios: list[np.ndarray], windows: WindowOptions) -> list:
    encoder, sink = OfflineEncoder(recognizer._model, windows), LogitsSink()
    utterances = [encoder.utterance(Audio(samples, RATE), "swh") for samples in audios]
    complete = [pair for done in encoder.run(utterances, sink) for pair in done]
    assert sorted(complete) == [(i, None) for i in range(len(audios))]
    return [sink.pop(i) for i in range(len(audios))]


def test_logits_of_one_window_are_the_models(tiny: Recognizer) -> None:
    audios = [sound(1.0, 1), sound(3.7, 2), sound(0.0)]
    found = encode(tiny, audios, WindowOptions())
    for samples, logits in zip(audios[:2], found, strict=False):
        expected = tiny._model.logits([Segment(normalize(samples), "swh")])[0]
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert found[2].shape == (0, 0)


def test_windows_give_every_frame_once(tiny: Recognizer) -> None:
    samples = sound(11.3)
    windows = WindowOptions(seconds=2.0, context_seconds=0.5)
    (logits,) = encode(tiny, [samples], windows)
    assert len(logits) == tiny._model.geometry.frames(len(samples))


class Graph:
    """Session of an encoder without adapters: the mean of each row's features, or the features."""

    inputs = ()
    device = "cpu"

    def __init__(self, *, pooled: bool) -> None:
        self._pooled = pooled
        self.outputs = (Tensor(name="scores", dtype="float32", shape=(), meaning=""),)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert sorted(feeds) == ["features", "lengths"]
        rows = zip(feeds["features"], feeds["lengths"], strict=True)
        means = np.stack([row[:length].mean(axis=0) for row, length in rows])
        return {"scores": means if self._pooled else feeds["features"]}


@pytest.mark.parametrize("pooled", [True, False])
def test_encoder_without_adapters(pooled: bool) -> None:
    random = np.random.default_rng(0)
    features = [random.normal(size=(n, 5)).astype(np.float32) for n in (7, 3)]
    emission = run_encoder(Graph(pooled=pooled), None, features, ["", ""])
    for row, own in zip(emission.rows(), features, strict=True):
        np.testing.assert_allclose(row, own.mean(axis=0)[None] if pooled else own, rtol=1e-6)


def test_pooled_scores_come_with_the_frames_of_their_window() -> None:
    sink = PooledSink()
    scores = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    rows = [WindowRow(4, "", Window(0, 90, 0, 80)), WindowRow(4, "", Window(70, 160, 80, 160))]
    sink.take(rows, HostEmission(scores, (1, 1), (3, 3)))
    assert [(n, own.tolist()) for n, own in sink.pop(4)] == [(80, [0, 1, 2]), (80, [3, 4, 5])]
    assert sink.pop(4) == []


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5, 2.9, 3.0, 3.02, 3.04, 5.0, 11.3])
@pytest.mark.parametrize("batch_frames", [0, 600])
def test_logits_of_a_stream_are_those_of_the_whole(
    tiny: Recognizer, seconds: float, batch_frames: int
) -> None:
    windows = WindowOptions(seconds=2.0, context_seconds=0.5)
    samples = sound(seconds)
    (expected,) = encode(tiny, [samples], windows)
    encoder = OfflineEncoder(tiny._model, windows, batch_frames)
    for size in (1, 317, 16_000, 1 << 20):
        if size == 1 and seconds > 0.5:
            continue
        sink, counted = LogitsSink(), []
        pieces = [samples[i : i + size] for i in range(0, len(samples), size)]
        encoder.run_stream(pieces, statistics(samples), "swh", sink, counted.append)
        logits = sink.pop(0)
        assert logits.shape == expected.shape
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        assert sum(counted) == pytest.approx(len(logits) * 0.02)


def test_stream_holds_two_windows_of_samples(tiny: Recognizer) -> None:
    """Pieces are read as they are needed: none while a window waits to be run."""
    windows = WindowOptions(seconds=2.0, context_seconds=0.5)
    encoder = OfflineEncoder(tiny._model, windows)
    read = 0

    def pieces():
        nonlocal read
        for _ in range(40):
            read += RATE
            yield sound(1.0)

    progress = []
    encoder.run_stream(
        pieces(),
        Normalization(0.0, 1.0),
        "swh",
        LogitsSink(),
        lambda seconds: progress.append((seconds, read / RATE)),
    )
    done = np.cumsum([seconds for seconds, _ in progress])
    ahead = np.array([seconds for _, seconds in progress]) - done
    assert ahead.max() <= 7.0
