"""Compares what a bundle's graphs compute with the torch modules, on real speech."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path

import numpy as np
import soundfile

from mms_engine.audio.normalization import normalize
from mms_engine.bundle.schema import Parity, Precision
from mms_engine.errors import MmsError
from mms_export.checkpoints.open import read_adapter
from mms_export.checkpoints.weights import FloatArray
from mms_export.sources import open_source

MIN_AGREEMENT: dict[Precision, float] = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.97, "int8": 0.97}
"""Share of frames whose most likely token must be that of the torch modules."""
SPEECH = Path(__file__).parent / "data" / "speech.flac"
PART = 0.6
"""The second clip is this share of the first, so that the batch has padding."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared: two clips of real speech in two languages, in one padded batch."""

    checkpoint: Path
    """Folder or file of the checkpoint."""
    languages: tuple[str, str]

    def clips(self) -> tuple[FloatArray, FloatArray]:
        """Return normalised samples, float32 `[N]`."""
        samples, _ = soundfile.read(SPEECH, dtype="float32")
        return normalize(samples), normalize(samples[: int(len(samples) * PART)])


def reference_logits(case: Case) -> list[FloatArray]:
    """Return the torch modules' logits `[T, V]` of each clip, each computed alone."""
    from mms_export.reference import Reference  # torch is heavy

    checkpoint = open_source(str(case.checkpoint))
    reference = Reference(checkpoint.config, checkpoint.weights)
    return [
        reference.logits(clip, [read_adapter(checkpoint.adapters[language], checkpoint.config)])[0]
        for clip, language in zip(case.clips(), case.languages, strict=True)
    ]


def agreement(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the share of frames with the same most likely token; what is not finite is wrong."""
    equal = frames = 0
    for ours, theirs in zip(found, expected, strict=True):
        same = (ours.argmax(-1) == theirs.argmax(-1)) & np.isfinite(ours).all(-1)
        equal, frames = equal + int(same.sum()), frames + len(same)
    return equal / frames


def max_error(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the largest difference of a logit; infinite where one is not finite."""
    errors = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    return max(errors) if np.isfinite(errors).all() else float("inf")


def compare(
    case: Case, precision: Precision, found: list[FloatArray], expected: list[FloatArray]
) -> Parity:
    """Return how far a precision's logits are from the torch modules'."""
    return Parity(
        # Three digits: the rest depends on how many threads took part.
        max_abs_error=float(f"{max_error(found, expected):.3g}"),
        argmax_agreement=float(f"{agreement(found, expected):.6g}"),
        min_argmax_agreement=MIN_AGREEMENT[precision],
        frames=sum(map(len, expected)),
        seconds=sum(len(clip) for clip in case.clips()) / 16000,
    )


def demand(parity: Parity, precision: Precision) -> None:
    """Refuse graphs that are too far from the model.

    Raises:
        MmsError: a logit is not finite, or the agreement is below the precision's tolerance.
    """
    if isinf(parity.max_abs_error):
        raise MmsError(
            f"the {precision} graphs give logits that are not finite: the model has values that "
            f"{precision} cannot hold. Export it without --precision {precision}; bf16 has the "
            "range of fp32"
        )
    if parity.argmax_agreement < parity.min_argmax_agreement:
        raise MmsError(
            f"the {precision} graphs give the model's most likely token in only "
            f"{parity.argmax_agreement:.2%} of {parity.frames} frames "
            f"(at least {parity.min_argmax_agreement:.2%} is asked for; largest difference of a "
            f"logit {parity.max_abs_error:g}): this checkpoint needs another precision"
        )
