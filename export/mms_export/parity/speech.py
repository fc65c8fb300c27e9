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
from mms_export.graphs.vits.voice import fold_voice
from mms_export.parity.execution import run_outputs

TOKENS = (41, 24)
FRAMES = (57, 33)
"""Lengths of the two rows of a batch, so that it has padding."""
MAX_ERROR: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 0.05, "bf16": 0.3, "int8": 0.3}
"""Largest error relative to the reference's largest value, or to 1 if that is less."""
NOISE_SCALE_DURATION, NOISE_SCALE = 0.8, 0.667


@dataclass(frozen=True)
class SpeechCase:
    """Two random sentences of one voice, which the graphs compute in one padded batch."""

    file: VoiceFile

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
    def latents(self) -> list[FloatArray]:
        """Samples of the prior of each row, float32 `[D, F]`."""
        random = np.random.default_rng(2)
        return [NOISE_SCALE * _normal(random, self.config.flow_size, size) for size in FRAMES]

    @cached_property
    def features(self) -> list[FloatArray]:
        """Features of each row, float32 `[C, S]`, in the range of the reference's."""
        return reference_speech(self)["flow"]


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
        features = [reference.flow(torch.from_numpy(latents)) for latents in case.latents]
        samples = [reference.decoder(row)[None] for row in features]
        return {
            "text": [torch.cat([m, s, d[None]]).numpy() for m, s, d in text],
            "flow": [row.numpy() for row in features],
            "decoder": [row.numpy() for row in samples],
        }


def graph_speech(
    case: SpeechCase, folder: Path, precision: Precision, name: str
) -> list[FloatArray]:
    """Return a graph's outputs of each row of a case, computed in one batch."""
    rows, scale = stage_inputs(case, name)
    weights = dict(fold_voice(case.config, read_voice_tensors(case.file), case.file.rows))
    operands = numpy_dtype(NUMERICS[precision].operands)
    feeds = {key: array.astype(operands) for key, array in weights.items()} | rows
    outputs = run_outputs(folder, name, precision, feeds)
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
        inputs = {"latents": _padded(case.latents), "lengths": np.array(FRAMES, np.int64)}
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
    errors = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    error = max(errors) if np.isfinite(errors).all() else float("inf")
    level = max(1.0, *(float(np.abs(row).max()) for row in expected))
    allowed = MAX_ERROR[precision] * level
    if not error <= allowed:
        raise MmsError(
            f"the {precision} graphs differ from the reference network by {error:.3g} (allowed: "
            f"{allowed:.3g}) for the voice {case.file.language}: export it without "
            f"--precision {precision}"
        )
    samples = sum(FRAMES) * prod(case.config.upsample_rates)
    return Parity(
        # Three digits: the rest depends on the number of threads.
        max_abs_error=float(f"{error:.3g}"),
        max_allowed_error=float(f"{allowed:.3g}"),
        frames=sum(FRAMES),
        seconds=samples / case.file.voice.sampling_rate,
    )
