"""Compares what a bundle's graphs compute with the torch modules, on real speech."""

from dataclasses import dataclass
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


def compare(
    case: Case, precision: Precision, found: list[FloatArray], expected: list[FloatArray]
) -> Parity:
    """Return how far a precision's logits are from the torch modules'."""
    pairs = list(zip(found, expected, strict=True))
    frames = sum(len(logits) for logits in expected)
    equal = sum(int((a.argmax(-1) == b.argmax(-1)).sum()) for a, b in pairs)
    error = max(float(np.abs(a - b).max()) for a, b in pairs)
    return Parity(
        # Three digits: the rest depends on how many threads took part.
        max_abs_error=float(f"{error:.3g}"),
        argmax_agreement=float(f"{equal / frames:.6g}"),
        min_argmax_agreement=MIN_AGREEMENT[precision],
        frames=frames,
        seconds=sum(len(clip) for clip in case.clips()) / 16000,
    )


def demand(parity: Parity, precision: Precision) -> None:
    """Refuse graphs that are too far from the model.

    Raises:
        MmsError: the agreement is below the precision's tolerance.
    """
    if parity.argmax_agreement < parity.min_argmax_agreement:
        raise MmsError(
            f"the {precision} graphs give the model's most likely token in only "
            f"{parity.argmax_agreement:.2%} of {parity.frames} frames "
            f"(at least {parity.min_argmax_agreement:.2%} is asked for; largest difference of a "
            f"logit {parity.max_abs_error:g}): this checkpoint needs another precision"
        )
