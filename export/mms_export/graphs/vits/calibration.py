"""Calibration of a voice's 8-bit decoder: ranges of its values on random texts with fixed noise.

The float32 graphs are run with the voice as inputs; one session of each serves all voices of a
process.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime

from mms_engine.bundle.manifest import Vits
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.graphs.builder import Array, GraphBuilder
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.vits.decoder import decode, decoder_inputs
from mms_export.graphs.vits.flow import build_flow
from mms_export.graphs.vits.layers import VoiceLayers
from mms_export.graphs.vits.quantized import Range, quantize_convolutions
from mms_export.graphs.vits.text import build_text
from mms_export.graphs.writer import model_bytes

TEXTS = 4
LETTERS = 24
"""Letters of a text, with a blank before, between and behind them."""
MAX_FRAMES = 96
"""Frames of a text that are decoded, 1.5 s of facebook/mms-tts-*."""
NOISE_SCALE, NOISE_SCALE_DURATION = 0.667, 0.8


def quantize_voice(config: Vits, tensors: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return the tensors of precision int8 of a voice.

    Args:
        config: Network sizes.
        tensors: Tensors of the voice, under the names of the graphs' inputs.
        rows: Rows of the embedding.
    """
    ranges = measure_ranges(config, tensors, rows)
    return dict(quantize_convolutions(config, tensors, ranges))


def measure_ranges(config: Vits, tensors: Mapping[str, Array], rows: int) -> dict[str, Range]:
    """Return the range of each channel at each place of the decoder.

    Args:
        config: Network sizes.
        tensors: Tensors of the voice, under the names of the graphs' inputs.
        rows: Rows of the embedding.
    """
    random = np.random.default_rng(0)
    found = [_measure(config, tensors, rows, random) for _ in range(TEXTS)]
    low = [np.min(lows, axis=0) for lows in zip(*(lows for lows, _ in found), strict=True)]
    high = [np.max(highs, axis=0) for highs in zip(*(highs for _, highs in found), strict=True)]
    return dict(zip(_plain_decoder(config).places, zip(low, high, strict=True), strict=True))


def _measure(
    config: Vits, tensors: Mapping[str, Array], rows: int, random: np.random.Generator
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return the least and the greatest value of each channel at each place for a random text."""
    ids = np.zeros((1, 2 * LETTERS + 1), np.int64)
    ids[0, 1::2] = random.integers(0, rows, LETTERS)
    noise = random.standard_normal((1, 2, ids.shape[1]), dtype=np.float32)
    means, log_scales, log_durations = _run(
        _text(config),
        tensors,
        ids=ids,
        lengths=np.array([ids.shape[1]]),
        duration_noise=NOISE_SCALE_DURATION * noise,
    )
    latents = _sample(random, means[0], log_scales[0], log_durations[0])
    frames = latents.shape[2]
    (features,) = _run(_flow(config), tensors, latents=latents, lengths=np.array([frames]))
    steps = np.array([[0, features.shape[2]]])
    extremes = _run(_observed(config), tensors, features=features, valid=steps)
    return extremes[::2], extremes[1::2]


def _sample(
    random: np.random.Generator, means: FloatArray, log_scales: FloatArray, logs: FloatArray
) -> FloatArray:
    """Return a sample of the prior `[1, D, F]`."""
    durations = np.ceil(np.exp(np.minimum(logs, np.log(MAX_FRAMES)))).astype(np.int64)
    tokens = np.repeat(np.arange(len(durations)), durations)[:MAX_FRAMES]
    noise = random.standard_normal((len(means), len(tokens)), dtype=np.float32)
    scales = np.exp(log_scales[:, tokens])
    sample = means[:, tokens] + NOISE_SCALE * scales * noise
    return np.asarray(sample, np.float32)[np.newaxis]


def _run(
    session: onnxruntime.InferenceSession, tensors: Mapping[str, Array], **activations: Array
) -> list[FloatArray]:
    feeds = dict(activations)
    for value in session.get_inputs():
        if value.name not in feeds:
            feeds[value.name] = tensors[value.name].astype(np.float32)
    outputs: list[FloatArray] = session.run(None, feeds)
    return outputs


def _no_weights(name: str) -> FloatArray:
    raise KeyError(name)


def _session(graph: GraphBuilder) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # One thread: voices are converted by as many processes as there are cores.
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # which would keep the memory between voices
    return onnxruntime.InferenceSession(model_bytes(graph, []), options, ["CPUExecutionProvider"])


def _cached(
    build: Callable[[Vits], GraphBuilder],
) -> Callable[[Vits], onnxruntime.InferenceSession]:
    return functools.lru_cache(maxsize=1)(lambda config: _session(build(config)))


def _plain_decoder(config: Vits) -> VoiceLayers:
    """Return the layers of a float32 decoder of whole sentences."""
    numerics = NUMERICS["fp32"]
    layers = VoiceLayers(GraphBuilder("decoder", numerics.opset), numerics, config)
    decode(layers, decoder_inputs(layers)[0], "")
    return layers


def _observed_decoder(config: Vits) -> GraphBuilder:
    """Return the float32 decoder whose outputs are each place's least and greatest values `[C]`."""
    layers = _plain_decoder(config)
    graph = layers.graph
    for place, value in layers.places.items():
        for name, kind in (("low", "ReduceMin"), ("high", "ReduceMax")):
            found = graph.op(kind, value, graph.ints(0, 2), keepdims=0)
            graph.output(f"{place}.{name}", found, "float32", ["channels"])
    return graph


_text = _cached(lambda config: build_text(config, Weights({}, _no_weights), NUMERICS["fp32"]))
_flow = _cached(lambda config: build_flow(config, Weights({}, _no_weights), NUMERICS["fp32"]))
_observed = _cached(_observed_decoder)
