"""Optimisation profiles: the shapes of every input for each use of a graph."""

from dataclasses import dataclass
from typing import Self

from mms_engine.bundle.schema import Profile, ShapeRange, Stage, Tensor
from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.tensorrt.options import USES, Use, UseName

USUAL_SLOTS, MIN_SLOTS = 1024, 2048
"""Slots the kernels are chosen for, and that any plan has room for: more than MMS has languages."""
USUAL_VOCAB, MIN_VOCAB = 64, 512
"""Tokens, likewise. Nothing but a vocabulary beyond the most makes a plan too small."""

NEW_FRAMES = (1, 48, 150)
"""Frames that a step of a stream computes, its chunk and right context: at most 3 s."""
KEPT_FRAMES = (1, 250, 500)
"""Frames whose keys and values it hears: at most 10 s."""

Range = tuple[int, int, int]
"""Least, usual, most."""


@dataclass(frozen=True, slots=True)
class Extents:
    """What a model brings to the sizes of its inputs, whatever it is used for."""

    geometry: FrameGeometry
    sample_rate: int
    history: int
    """Frames that a step of a stream hears for its positions."""
    slots: Range
    """Languages in the bank (R)."""
    vocab: Range
    """Tokens of the largest language in the bank (V)."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Return those of a checkpoint, with room for every language it has."""
        languages = len(checkpoint.adapters)
        largest = max(len(adapter.vocab) for adapter in checkpoint.adapters.values())
        architecture = checkpoint.config.architecture()
        return cls(
            geometry=FrameGeometry.of(architecture),
            sample_rate=checkpoint.sample_rate,
            history=architecture.num_conv_pos_embeddings // 2,
            slots=(1, USUAL_SLOTS, max(MIN_SLOTS, _power_of_two(languages))),
            vocab=(1, USUAL_VOCAB, max(MIN_VOCAB, _power_of_two(largest))),
        )


def make_profiles(
    stage: Stage, inputs: tuple[Tensor, ...], uses: tuple[Use, ...], extents: Extents
) -> tuple[Profile, ...]:
    """Return the profiles of a graph: one for each use, or of `cached` the one for steps."""
    if stage != "cached":
        return tuple(_profile(inputs, use.name, _sizes(use, extents)) for use in uses)
    streaming = next((use for use in uses if use.name == "streaming"), USES["streaming"])
    return (_profile(inputs, streaming.name, _step_sizes(streaming, extents)),)


def _profile(inputs: tuple[Tensor, ...], name: UseName, sizes: dict[str, Range]) -> Profile:
    shapes = {
        tensor.name: ShapeRange(*(_shape(tensor, sizes, which) for which in range(3)))
        for tensor in inputs
    }
    return Profile(name=name, shapes=shapes)


def _sizes(use: Use, extents: Extents) -> dict[str, Range]:
    """Return the sizes of a use; frames and samples are of the same sounds."""
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


def _step_sizes(use: Use, extents: Extents) -> dict[str, Range]:
    least, usual, most = (extents.history + frames for frames in NEW_FRAMES)
    return {
        "batch": use.batch,
        "heard": (least, usual, most),
        "kept": KEPT_FRAMES,
        "slots": extents.slots,
        "vocab": extents.vocab,
    }


def _shape(tensor: Tensor, sizes: dict[str, Range], which: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else sizes[size][which] for size in tensor.shape)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
