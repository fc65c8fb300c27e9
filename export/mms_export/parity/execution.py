"""Runs of a bundle's graphs on the CPU, for parity and tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from mms_engine.bank.bank import Resident
from mms_engine.bank.heads import PAGE_TOKENS, in_pages, row_inputs
from mms_engine.bundle.kv_cache import cache_names
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.config import adapter_parameters
from mms_export.checkpoints.open import read_adapter
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import Array, numpy_dtype
from mms_export.graphs.contract import graph_path
from mms_export.graphs.numerics import NUMERICS, Numerics
from mms_export.graphs.wav2vec2.adapters import pack_adapter
from mms_export.parity.comparison import Case


def graph_logits(case: Case, folder: Path, precision: Precision, name: str) -> list[FloatArray]:
    """Return a graph's logits `[T, V]` of each clip of a case, computed in one batch.

    Args:
        case: Clips and languages.
        folder: Folder of the bundle.
        precision: Precision of the graphs.
        name: `encoder`, or `step`, which takes each clip as one step with an empty cache.
    """
    checkpoint = case.open()
    feeds = _features(case, checkpoint, folder, precision)
    lengths = feeds["lengths"]
    feeds |= bank(checkpoint, case.languages, NUMERICS[precision])
    if name == "step":
        feeds |= empty_cache(checkpoint, feeds["features"], NUMERICS[precision])
    logits = run_graph(folder, name, precision, feeds)
    sizes = [len(checkpoint.adapters[language].vocab) for language in case.languages]
    rows = zip(logits, lengths, sizes, strict=True)
    return [row[:length, :size] for row, length, size in rows]


def graph_scores(case: Case, folder: Path, precision: Precision, name: str) -> list[FloatArray]:
    """Return the scores `[1, labels]` of each clip of a case, computed in one batch.

    The arguments are those of `graph_logits`.
    """
    scores = run_graph(folder, name, precision, _features(case, case.open(), folder, precision))
    return [row[np.newaxis] for row in scores]


def graph_hidden(case: Case, folder: Path, precision: Precision, name: str) -> list[FloatArray]:
    """Return the hidden states `[T, H]` of each clip of a case, computed in one batch.

    The arguments are those of `graph_logits`.
    """
    feeds = _features(case, case.open(), folder, precision)
    hidden = run_graph(folder, name, precision, feeds)
    return [row[:length] for row, length in zip(hidden, feeds["lengths"], strict=True)]


def _features(
    case: Case, checkpoint: Checkpoint, folder: Path, precision: Precision
) -> dict[str, Array]:
    """Return the inputs `features` and `lengths` of the clips, padded to one batch."""
    clips = case.clips()
    audio = np.zeros((len(clips), max(map(len, clips))), np.float32)
    for row, clip in zip(audio, clips, strict=True):
        row[: len(clip)] = clip
    geometry = FrameGeometry.of(checkpoint.config)
    return {
        "features": run_graph(folder, "frontend", precision, {"audio": audio}),
        "lengths": np.array([geometry.frames(len(clip)) for clip in clips], np.int64),
    }


def empty_cache(checkpoint: Checkpoint, features: Array, numerics: Numerics) -> dict[str, Array]:
    """Return the inputs of the step graph for features `[B, T, F]` without earlier frames."""
    config, rows = checkpoint.config, len(features)
    before = config.num_conv_pos_embeddings // 2
    heads = config.num_attention_heads
    shape = (rows, heads, 1, config.hidden_size // heads)
    nothing = np.zeros(shape, numpy_dtype(numerics.kv_cache))
    return dict.fromkeys(cache_names(config.num_hidden_layers), nothing) | {
        "features": np.pad(features, ((0, 0), (before, 0), (0, 0))),
        "history": np.zeros(rows, np.int64),
        "filled": np.zeros(rows, np.int64),
        "keep": np.zeros(1, np.int64),
    }


def bank(checkpoint: Checkpoint, languages: Sequence[str], numerics: Numerics) -> dict[str, Array]:
    """Return the inputs of the adapter bank for rows of some languages.

    Args:
        checkpoint: Checkpoint of the languages.
        languages: Language of each row.
        numerics: Number types of the graph. One without adapters has no inputs `slot`, `adapters`.
    """
    config, operands = checkpoint.config, numpy_dtype(numerics.operands)
    hidden = config.hidden_size
    adapters = []
    weights, biases = [np.zeros((1, PAGE_TOKENS, hidden))], [np.full((1, PAGE_TOKENS), -np.inf)]
    resident: dict[str, Resident[None]] = {}
    used = 1
    for slot, language in enumerate(sorted(set(languages))):
        adapter = read_adapter(checkpoint.adapters[language], config)
        head = adapter.read("lm_head.weight"), adapter.read("lm_head.bias")
        weight, bias = in_pages(*head, "float32")
        adapters.append(pack_adapter(adapter, config))
        weights.append(weight)
        biases.append(bias)
        resident[language] = Resident(slot, None, tuple(range(used, used + len(bias))))
        used += len(bias)
    held = [resident[language] for language in languages]
    inputs = row_inputs(held, len(held), max(len(one.pages) for one in held))
    arrays = {"head_weight": np.concatenate(weights), "head_bias": np.concatenate(biases)}
    if adapter_parameters(config):
        arrays["adapters"] = np.stack(adapters)
    else:
        del inputs["slot"]
    return {**inputs, **{name: array.astype(operands) for name, array in arrays.items()}}


def run_graph(
    folder: Path, name: str, precision: Precision, feeds: Mapping[str, Array]
) -> FloatArray:
    """Run a graph of a bundle once and return its first output, as `run_outputs` does."""
    return run_outputs(folder, name, precision, feeds)[0]


def run_outputs(
    folder: Path, name: str, precision: Precision, feeds: Mapping[str, Array], model: str = ""
) -> list[FloatArray]:
    """Run a graph of a bundle once and return its outputs.

    On a CPU, ONNX Runtime has no bfloat16 and hides the rounding and overflow of float16: 16-bit
    graphs run node by node instead.

    Args:
        folder: Folder of the bundle.
        name: Name of the graph.
        precision: Precision of the graph.
        feeds: Inputs by name; those that the graph does not have are ignored.
        model: Key of `Manifest.models`; empty for `Manifest.model`.
    """
    path = graph_path(folder, name, precision, model)
    if NUMERICS[precision].operands != "float32":
        from mms_export.parity.evaluator import Evaluator  # imports torch

        return Evaluator(path).run(feeds)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Packed copies of the weights would double the memory for a single run.
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    outputs: list[FloatArray] = session.run(None, {key: feeds[key] for key in names})
    return outputs
