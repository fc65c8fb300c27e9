"""Comparison of the graphs of speech synthesis with the reference network, stage by stage.

Each graph takes what the reference gives the stage before, so that their errors do not add up, and
durations cannot differ. Both have the voice's weights before they are rounded for its file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from mms_engine.bundle.manifest import Parity, Vits
from mms_engine.errors import MmsError
from mms_engine.types import Precision
from mms_export.checkpoints.checkpoint import VoiceFile
from mms_export.checkpoints.voices import read_voice_tensors
from mms_export.checkpoints.weights import FloatArray
from mms_export.graphs.builder import Array, numpy_dtype
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.vits.calibration import quantize_voice
from mms_export.graphs.vits.voice import fold_voice
from mms_export.parity.execution import run_outputs

TOKENS = (41, 24)
FRAMES = (57, 33)
"""Lengths of the two rows of a batch, so that it has padding."""
MAX_ERROR: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 0.05, "bf16": 0.3, "int8": 0.3}
"""Largest relative error, in root mean squares."""
NOISE_SCALE_DURATION, NOISE_SCALE = 0.8, 0.667


@dataclass(frozen=True)
class SpeechCase:
    """Two random sentences of one voice, which the graphs compute in one padded batch."""

    file: VoiceFile
    model: str = ""
    """Key in `Manifest.models` of the voice's sizes; empty for `Manifest.model`."""

    @property
    def config(self) -> Vits:
        """Network sizes."""
        return self.file.config

    @cached_property
    def ids(self) -> list[Array]:
        """Token ids of each row, int64 `[T]`."""
        random = np.random.default_rng(0)
        return [random.integers(0, self.file.rows, size) for size in TOKENS]

    @cached_property
    def duration_noise(self) -> list[FloatArray]:
        """Scaled noise of each row, float32 `[2, T]`."""
        random = np.random.default_rng(1)
        return [NOISE_SCALE_DURATION * _normal(random, 2, size) for size in TOKENS]

    @cached_property
    def expected(self) -> dict[str, list[FloatArray]]:
        """Outputs of the reference network, as `reference_speech` returns them."""
        return reference_speech(self)

    @property
    def features(self) -> list[FloatArray]:
        """Features of each row, float32 `[C, S]`, those of the reference."""
        return self.expected["flow"]

    def latents(self, statistics: list[FloatArray]) -> list[FloatArray]:
        """Return a sample of the prior of each row, float32 `[D, F]`.

        Args:
            statistics: Means and log-scales at each token, `[2 D or more, T]`.
        """
        random, size = np.random.default_rng(2), self.config.flow_size
        rows = []
        for row, frames in zip(statistics, FRAMES, strict=True):
            tokens = np.arange(frames) * row.shape[1] // frames
            means, log_scales = row[:size, tokens], row[size : 2 * size, tokens]
            noise = _normal(random, size, frames)
            rows.append(np.asarray(means + NOISE_SCALE * np.exp(log_scales) * noise, np.float32))
        return rows


def _normal(random: np.random.Generator, *shape: int) -> FloatArray:
    return random.standard_normal(shape, dtype=np.float32)


def reference_speech(case: SpeechCase) -> dict[str, list[FloatArray]]:
    """Return the reference's outputs of each row by graph, those of text in `[2 D + 1, T]`."""
    import torch

    from mms_export.parity.vits import VitsReference

    reference = VitsReference(case.config, read_voice_tensors(case.file))
    with torch.inference_mode():
        text = [
            reference.text(torch.from_numpy(ids), torch.from_numpy(noise))
            for ids, noise in zip(case.ids, case.duration_noise, strict=True)
        ]
        statistics = [torch.cat([m, s, d[None]]).numpy() for m, s, d in text]
        features = [reference.flow(torch.from_numpy(row)) for row in case.latents(statistics)]
        samples = [reference.decoder(row)[None] for row in features]
        return {
            "text": statistics,
            "flow": [row.numpy() for row in features],
            "decoder": [row.numpy() for row in samples],
        }


def graph_speech(
    case: SpeechCase, folder: Path, precision: Precision, name: str
) -> list[FloatArray]:
    """Return a graph's outputs of each row of a case, computed in one batch."""
    rows, scale = stage_inputs(case, name)
    weights: dict[str, Array] = dict(
        fold_voice(case.config, read_voice_tensors(case.file), case.file.rows)
    )
    if precision == "int8":
        weights |= quantize_voice(case.config, weights, case.file.rows)
    operands = numpy_dtype(NUMERICS[precision].operands)
    feeds = {
        key: array.astype(operands) if array.dtype == np.float32 else array
        for key, array in weights.items()
    }
    outputs = run_outputs(folder, name, precision, feeds | rows, case.model)
    sizes = [size * scale for size in (TOKENS if name == "text" else FRAMES)]
    stacked = np.concatenate([o if o.ndim == 3 else o[:, np.newaxis] for o in outputs], axis=1)
    return [row[:, :size] for row, size in zip(stacked, sizes, strict=True)]


def stage_inputs(case: SpeechCase, name: str) -> tuple[dict[str, Array], int]:
    """Return a graph's inputs but the weights, and its output's elements per token or frame."""
    rates = case.config.upsample_rates
    if name == "text":
        inputs = {"ids": _padded(case.ids), "duration_noise": _padded(case.duration_noise)}
        return inputs | {"lengths": np.array(TOKENS, np.int64)}, 1
    if name == "flow":
        latents = case.latents(case.expected["text"])
        inputs = {"latents": _padded(latents), "lengths": np.array(FRAMES, np.int64)}
        return inputs, rates[0]
    valid = np.array([[0, frames * rates[0]] for frames in FRAMES], np.int64)
    return {"features": _padded(case.features), "valid": valid}, prod(rates)


def _padded(rows: list[Array]) -> Array:
    """Return rows as one batch, the shorter padded with zeros behind."""
    longest = max(row.shape[-1] for row in rows)
    pads = [[(0, 0)] * (row.ndim - 1) + [(0, longest - row.shape[-1])] for row in rows]
    return np.stack([np.pad(row, pad) for row, pad in zip(rows, pads, strict=True)])


def compare_speech(
    case: SpeechCase, precision: Precision, found: list[FloatArray], expected: list[FloatArray]
) -> Parity:
    """Return the parity of a graph's outputs with the reference's.

    Raises:
        MmsError: an output is not finite, or the error is beyond the precision's tolerance.
    """
    ours, theirs = (np.concatenate([row.ravel() for row in rows]) for rows in (found, expected))
    error = ours.astype(np.float64) - theirs
    relative = float(np.sqrt(np.square(error).mean() / np.square(theirs).mean()))
    allowed = MAX_ERROR[precision]
    if not relative <= allowed:
        raise MmsError(
            f"the {precision} graphs differ from the reference network by {relative:.3g} of its "
            f"root mean square (allowed: {allowed:g}) for the voice {case.file.language}: export "
            f"it without --precision {precision}"
        )
    samples = sum(FRAMES) * prod(case.config.upsample_rates)
    return Parity(
        # Three digits: the rest depends on the number of threads.
        max_abs_error=float(f"{np.abs(error).max():.3g}"),
        relative_error=float(f"{relative:.3g}"),
        max_relative_error=allowed,
        frames=sum(FRAMES),
        seconds=samples / case.file.voice.sampling_rate,
    )
