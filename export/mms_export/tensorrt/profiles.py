"""Optimisation profiles: the shapes of every input for each use of a graph."""

from dataclasses import dataclass
from typing import Self

from mms_engine.bundle.schema import Profile, ShapeRange, Tensor
from mms_engine.frames import FrameGeometry
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.tensorrt.options import Use

USUAL_SLOTS, MIN_SLOTS = 1024, 2048
"""Slots the kernels are chosen for, and that any plan has room for: more than MMS has languages."""
USUAL_VOCAB, MIN_VOCAB = 64, 512
"""Tokens, likewise. Nothing but a vocabulary beyond the most makes a plan too small."""

Range = tuple[int, int, int]
"""Least, usual, most."""


@dataclass(frozen=True, slots=True)
class Extents:
    """What a model brings to the sizes of its inputs, whatever it is used for."""

    geometry: FrameGeometry
    sample_rate: int
    slots: Range
    """Languages in the bank (R)."""
    vocab: Range
    """Tokens of the largest language in the bank (V)."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Return those of a checkpoint, with room for every language it has."""
        languages = len(checkpoint.adapters)
        largest = max(len(adapter.vocab) for adapter in checkpoint.adapters.values())
        return cls(
            geometry=FrameGeometry.of(checkpoint.config.architecture()),
            sample_rate=checkpoint.sample_rate,
            slots=(1, USUAL_SLOTS, max(MIN_SLOTS, _power_of_two(languages))),
            vocab=(1, USUAL_VOCAB, max(MIN_VOCAB, _power_of_two(largest))),
        )


def make_profile(inputs: tuple[Tensor, ...], use: Use, extents: Extents) -> Profile:
    """Return the profile of one use; frames and samples are of the same sounds."""
    sizes = _sizes(use, extents)
    shapes = {
        tensor.name: ShapeRange(*(_shape(tensor, sizes, which) for which in range(3)))
        for tensor in inputs
    }
    return Profile(name=use.name, shapes=shapes)


def _sizes(use: Use, extents: Extents) -> dict[str, Range]:
    geometry = extents.geometry
    # As windows are cut: a frame a stride, the last one's field reaching beyond.
    least, usual, most = (
        max(1, round(seconds * extents.sample_rate / geometry.stride)) for seconds in use.seconds
    )
    # The most samples that still give the most frames: what is left over gives no frame.
    samples = (geometry.samples(least), geometry.samples(usual), geometry.samples(most + 1) - 1)
    return {
        "batch": use.batch,
        "frames": (least, usual, most),
        "samples": samples,
        "slots": extents.slots,
        "vocab": extents.vocab,
    }


def _shape(tensor: Tensor, sizes: dict[str, Range], which: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else sizes[size][which] for size in tensor.shape)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
