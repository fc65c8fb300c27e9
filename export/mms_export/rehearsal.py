"""Runs graphs with ONNX Runtime on the CPU, as parity and tests need it."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
import onnxruntime

from mms_engine.bundle.files import PARTIAL_SUFFIX
from mms_engine.bundle.schema import Precision, Stage
from mms_engine.frames import FrameGeometry
from mms_export.adapters import pack_adapter
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.open import read_adapter
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import Array, numpy_dtype
from mms_export.graphs.numerics import NUMERICS, Numerics
from mms_export.graphs.writer import write_model
from mms_export.parity import Case
from mms_export.sources import open_source
from mms_export.stages import build_graph, graph_path


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
    with Rehearsal(checkpoint, folder, precision) as rehearsal:
        features = rehearsal.run("frontend", {"audio": audio})
        feeds: dict[str, Array] = {
            "features": features,
            "lengths": lengths,
            "slot": np.arange(len(clips)),
        }
        feeds |= bank(checkpoint, case.languages, NUMERICS[precision])
        if stage == "cached":
            feeds |= no_past(checkpoint, features, NUMERICS[precision])
        logits = rehearsal.run(stage, feeds)
    sizes = [len(checkpoint.adapters[language].vocab) for language in case.languages]
    rows = zip(logits, lengths, sizes, strict=True)
    return [row[:length, :size] for row, length, size in rows]


def no_past(checkpoint: Checkpoint, features: Array, numerics: Numerics) -> dict[str, Array]:
    """Return the inputs of the graph `cached` for rows `[B, T, F]` that are at their beginning."""
    config, rows = checkpoint.config, len(features)
    before = config.num_conv_pos_embeddings // 2
    shape = (rows, config.num_hidden_layers, 2, 1, config.hidden_size)
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


class Rehearsal:
    """The graphs of one precision, loaded when they are run and let go after it.

    ONNX Runtime has no bfloat16 arithmetic on a CPU. There a copy of the graph runs that rounds to
    bfloat16 wherever the graph has it, and multiplies in float32.
    """

    def __init__(self, checkpoint: Checkpoint, folder: Path, precision: Precision) -> None:
        self._checkpoint = checkpoint
        self._folder = folder
        self._precision = precision
        self._emulated = precision == "bf16"
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for path in self._made:
            path.unlink(missing_ok=True)

    def run(self, stage: Stage, feeds: Mapping[str, Array]) -> FloatArray:
        """Run a graph once and return its only output."""
        path = graph_path(self._folder, stage, self._precision)
        if self._emulated:
            path = self._emulate(stage, path)
            feeds = {
                name: array.astype(np.float32) if array.dtype.kind not in "if" else array
                for name, array in feeds.items()
            }
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Packed copies of the weights would double the memory for a graph that runs once.
        options.add_session_config_entry("session.disable_prepacking", "1")
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        output: FloatArray = session.run(None, dict(feeds))[0]
        return output

    def _emulate(self, stage: Stage, path: Path) -> Path:
        graph = build_graph(self._checkpoint, stage, NUMERICS[self._precision], emulated=True)
        names = {weight.name for weight in graph.weights}
        original = onnx.load(path, load_external_data=False).graph
        weights = [tensor for tensor in original.initializer if tensor.name in names]
        copy = path.with_name(f"{path.name}.emulated.{os.getpid()}{PARTIAL_SUFFIX}")
        write_model(graph, weights, copy)
        self._made.append(copy)
        return copy
