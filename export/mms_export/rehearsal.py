"""Runs a bundle's graphs on the CPU, as parity and tests need it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from mms_engine.bundle.schema import Precision, Stage
from mms_engine.encoder.frames import FrameGeometry
from mms_export.adapters import pack_adapter
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.open import read_adapter
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import Array, numpy_dtype
from mms_export.graphs.numerics import NUMERICS, Numerics
from mms_export.parity import Case
from mms_export.sources import open_source
from mms_export.stages import graph_path


def graph_logits(
    case: Case, folder: Path, precision: Precision, stage: Stage = "encoder"
) -> list[FloatArray]:
    """Return the graphs' logits `[T, V]` of each clip of a case, computed in one batch.

    Args:
        case: What is heard.
        folder: The bundle's.
        precision: Of the graphs.
        stage: `encoder`, or `cached`, which takes each clip as one step without a past.
    """
    checkpoint = open_source(str(case.checkpoint))
    clips = case.clips()
    audio = np.zeros((len(clips), max(map(len, clips))), np.float32)
    for row, clip in zip(audio, clips, strict=True):
        row[: len(clip)] = clip
    geometry = FrameGeometry.of(checkpoint.config.architecture())
    lengths = np.array([geometry.frames(len(clip)) for clip in clips], np.int64)
    feeds: dict[str, Array] = {
        "features": run_graph(folder, "frontend", precision, {"audio": audio}),
        "lengths": lengths,
        "slot": np.arange(len(clips)),
    }
    feeds |= bank(checkpoint, case.languages, NUMERICS[precision])
    if stage == "cached":
        feeds |= no_past(checkpoint, feeds["features"], NUMERICS[precision])
    logits = run_graph(folder, stage, precision, feeds)
    sizes = [len(checkpoint.adapters[language].vocab) for language in case.languages]
    rows = zip(logits, lengths, sizes, strict=True)
    return [row[:length, :size] for row, length, size in rows]


def no_past(checkpoint: Checkpoint, features: Array, numerics: Numerics) -> dict[str, Array]:
    """Return the inputs of the graph `cached` for rows `[B, T, F]` that are at their beginning."""
    config, rows = checkpoint.config, len(features)
    before = config.num_conv_pos_embeddings // 2
    heads = config.num_attention_heads
    shape = (rows, config.num_hidden_layers, 2, heads, 1, config.hidden_size // heads)
    return {
        "features": np.pad(features, ((0, 0), (before, 0), (0, 0))),
        "history": np.zeros(rows, np.int64),
        "cache": np.zeros(shape, numpy_dtype(numerics.memory)),
        "filled": np.zeros(rows, np.int64),
    }


def bank(
    checkpoint: Checkpoint, languages: tuple[str, ...], numerics: Numerics
) -> dict[str, Array]:
    """Return the adapter bank of some languages, one a row, rounded to the graph's type."""
    config = checkpoint.config
    size = max(len(checkpoint.adapters[language].vocab) for language in languages)
    adapters = np.empty((len(languages), config.adapter_parameters), np.float32)
    head_weight = np.zeros((len(languages), size, config.hidden_size), np.float32)
    head_bias = np.full((len(languages), size), -np.inf, np.float32)
    for row, language in enumerate(languages):
        weights = read_adapter(checkpoint.adapters[language], config)
        bias = weights.read("lm_head.bias")
        adapters[row] = pack_adapter(weights, config)
        head_weight[row, : len(bias)] = weights.read("lm_head.weight")
        head_bias[row, : len(bias)] = bias
    arrays = {"adapters": adapters, "head_weight": head_weight, "head_bias": head_bias}
    operands = numpy_dtype(numerics.operands)
    return {name: array.astype(operands) for name, array in arrays.items()}


def run_graph(
    folder: Path, stage: Stage, precision: Precision, feeds: Mapping[str, Array]
) -> FloatArray:
    """Run a graph of a bundle once and return its first output.

    ONNX Runtime on a CPU has no bfloat16, and shows of float16 neither the rounding nor what does
    not fit: 16-bit graphs are run node by node.
    """
    path = graph_path(folder, stage, precision)
    if NUMERICS[precision].operands != "float32":
        from mms_export.precision.arithmetic import Arithmetic  # torch is heavy
        from mms_export.precision.evaluator import Evaluator

        return Evaluator(path, Arithmetic(precision, precision)).run(feeds)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Packed copies of the weights would double the memory for a graph that runs once.
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    output: FloatArray = session.run(None, dict(feeds))[0]
    return output
