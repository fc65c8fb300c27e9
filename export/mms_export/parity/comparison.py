"""Comparison of a bundle's graphs with the reference network, on real speech."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path

import numpy as np

from mms_engine.audio import normalize, read_audio
from mms_engine.audio.normalization import EPSILON
from mms_engine.bundle.manifest import Parity
from mms_engine.errors import MmsError
from mms_engine.types import Precision
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.checkpoints.selection import ALL
from mms_export.checkpoints.weights import FloatArray

MIN_AGREEMENT: dict[Precision, float] = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.97, "int8": 0.97}
"""Least share of frames whose most likely token is that of the reference."""
SPEECH = Path(__file__).parents[1] / "data" / "speech.flac"
MIN_COSINE = 0.99
"""Least cosine similarity of a frame's hidden state with the reference's."""
SECOND_CLIP = 0.6
"""Length of the second clip relative to the first, so that the batch has padding."""


@dataclass(frozen=True, slots=True)
class Case:
    """Two clips of real speech, which the graphs compute in one padded batch."""

    checkpoint: Path
    """Folder or file of the checkpoint."""
    languages: tuple[str, ...] = ()
    """Equal for a model of one language; none for one of language identification."""
    normalize: bool = True
    """`Wav2Vec2.normalize` of the model."""
    epsilon: float = EPSILON
    """`Wav2Vec2.normalize_epsilon` of the model."""

    def open(self) -> Checkpoint:
        """Open the checkpoint."""
        languages = ",".join(dict.fromkeys(self.languages)) or ALL
        return open_checkpoint(str(self.checkpoint), languages)

    def clips(self) -> tuple[FloatArray, FloatArray]:
        """Return the samples of each clip as the model takes them, float32 `[N]`."""
        samples = read_audio(SPEECH).samples
        clips = samples, samples[: int(len(samples) * SECOND_CLIP)]
        if not self.normalize:
            return clips
        return normalize(clips[0], self.epsilon), normalize(clips[1], self.epsilon)


def reference_logits(case: Case) -> dict[str, list[FloatArray]]:
    """Return the reference's logits `[T, V]` of each clip, computed alone, for both graphs."""
    from mms_export.parity.reference import Reference  # imports torch

    checkpoint = case.open()
    reference = Reference(checkpoint.config, checkpoint.weights)
    logits = [
        reference.logits(clip, read_adapter(checkpoint.adapters[language], checkpoint.config))
        for clip, language in zip(case.clips(), case.languages, strict=True)
    ]
    return {"encoder": logits, "step": logits}


def reference_scores(case: Case) -> dict[str, list[FloatArray]]:
    """Return the reference's scores `[1, labels]` of each clip, computed alone."""
    from mms_export.parity.reference import Reference  # imports torch

    checkpoint = case.open()
    reference = Reference(checkpoint.config, checkpoint.weights)
    return {"encoder": [reference.scores(clip) for clip in case.clips()]}


def reference_hidden(case: Case) -> dict[str, list[FloatArray]]:
    """Return the reference's last hidden states `[T, H]` of each clip, computed alone."""
    from mms_export.parity.reference import Reference  # imports torch

    checkpoint = case.open()
    reference = Reference(checkpoint.config, checkpoint.weights)
    return {"encoder": [reference.hidden(clip) for clip in case.clips()]}


def agreement(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the share of frames with the same most likely token; frames not finite count as wrong.

    Both arguments are logits `[T, V]` of each clip.
    """
    equal = frames = 0
    for ours, theirs in zip(found, expected, strict=True):
        same = (ours.argmax(-1) == theirs.argmax(-1)) & np.isfinite(ours).all(-1)
        equal, frames = equal + int(same.sum()), frames + len(same)
    return equal / frames


def nearness(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the share of frames whose hidden states have a cosine similarity of 0.99 or more.

    Both arguments are hidden states `[T, H]` of each clip.
    """
    near = frames = 0
    for ours, theirs in zip(found, expected, strict=True):
        lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
        near += int(((ours * theirs).sum(-1) >= MIN_COSINE * lengths).sum())
        frames += len(theirs)
    return near / frames


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a graph's outputs with the reference's."""

    share: Callable[[Sequence[FloatArray], Sequence[FloatArray]], float]
    """Returns the share of frames that agree."""
    what: str
    """Property in which they agree."""
    outputs: str
    """Name of the outputs."""


TOKENS = Agreement(agreement, "the model's most likely token", "logits")
DIRECTIONS = Agreement(
    nearness, f"the model's hidden states (cosine similarity {MIN_COSINE:g})", "hidden states"
)


def max_error(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the largest absolute difference; infinite if one is not finite."""
    errors = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    return max(errors) if np.isfinite(errors).all() else float("inf")


def compare(
    case: Case,
    precision: Precision,
    found: list[FloatArray],
    expected: list[FloatArray],
    measure: Agreement = TOKENS,
) -> Parity:
    """Return the parity of a precision's outputs with the reference's.

    Raises:
        MmsError: an output is not finite, or the agreement is below the precision's tolerance.
    """
    parity = Parity(
        # Three digits: the rest depends on the number of threads.
        max_abs_error=float(f"{max_error(found, expected):.3g}"),
        argmax_agreement=float(f"{measure.share(found, expected):.6g}"),
        min_argmax_agreement=MIN_AGREEMENT[precision],
        frames=sum(map(len, expected)),
        seconds=sum(len(clip) for clip in case.clips()) / 16000,
    )
    _check(parity, measure.share(found, expected), precision, measure)
    return parity


def _check(parity: Parity, agreement: float, precision: Precision, measure: Agreement) -> None:
    if isinf(parity.max_abs_error):
        raise MmsError(
            f"the {precision} graphs give {measure.outputs} that are not finite: the model has "
            f"values outside the range of {precision}. Export it without --precision {precision}; "
            "bf16 has the range of fp32"
        )
    if agreement < MIN_AGREEMENT[precision]:
        raise MmsError(
            f"the {precision} graphs give {measure.what} in only "
            f"{agreement:.2%} of {parity.frames} frames "
            f"(required: {MIN_AGREEMENT[precision]:.2%}; largest difference "
            f"{parity.max_abs_error:g}): this checkpoint needs another precision"
        )
