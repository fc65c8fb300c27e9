"""Optimisation profiles: the shapes of every input for each use of a graph."""

from dataclasses import dataclass
from math import prod
from typing import Self

from mms_engine.bank.heads import page_count
from mms_engine.bundle.manifest import Profile, ShapeRange, Tensor
from mms_engine.encoder.frames import FrameGeometry
from mms_export.checkpoints.checkpoint import Checkpoint, VoiceSet
from mms_export.tensorrt.options import USES, Use

Range = tuple[int, int, int]
"""Minimum, optimum, maximum."""

USUAL_SLOTS, MIN_SLOTS = 1024, 2048
"""Optimum of the bank's slots, and least maximum: MMS has fewer languages."""
USUAL_PAGES, MIN_PAGES = 1, 8
"""Optimum of the pages of a row's head, and least maximum: 512 tokens."""
USUAL_BANK_PAGES, MIN_BANK_PAGES = 1024, 16384
"""Optimum of the pages in the bank, and least maximum."""
USUAL_VOCAB, MIN_VOCAB = 64, 512
"""Optimum of a voice's vocabulary, and least maximum."""

USUAL_TOKENS, MAX_TOKENS = 24, 50
"""Tokens of text, with blanks, in a second of speech."""

SLICE_FRAMES = 100
"""Frames of a slice of the frontend, 2 s: its memory grows with the samples of a run, and the
engine cuts audio of any length into slices. The encoder's longest rows are whole slices."""
MAX_SLICES = 8
"""Most slices of a run of the frontend, each with 26 MB of scratch memory: fewer where batches have
few rows, so that the frontend does not take more than the encoder."""

NEW_FRAMES = (1, 48, 150)
"""New frames of a streaming step, chunk and right context: at most 3 s."""
CACHED_FRAMES = (1, 250, 500)
"""Frames in the KV cache of a streaming step: at most 10 s."""


@dataclass(frozen=True, slots=True)
class Extents:
    """Sizes of a model's inputs that do not depend on the use."""

    geometry: FrameGeometry
    sample_rate: int
    history: int
    """Frames before the new ones that the positional convolution of a step takes."""
    slots: Range
    """R, slots of the adapter bank."""
    pages: Range
    """Pages of a row's head."""
    bank_pages: Range
    """Pages in the adapter bank."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Return the extents of a checkpoint, with room for every language it has."""
        languages = max(1, len(checkpoint.adapters))
        sizes = [page_count(len(one.vocab)) for one in checkpoint.adapters.values()] or [1]
        return cls(
            geometry=FrameGeometry.of(checkpoint.config),
            sample_rate=checkpoint.sample_rate,
            history=checkpoint.config.num_conv_pos_embeddings // 2,
            slots=(1, USUAL_SLOTS, max(MIN_SLOTS, _power_of_two(languages))),
            pages=(1, USUAL_PAGES, max(MIN_PAGES, _power_of_two(max(sizes)))),
            bank_pages=(1, USUAL_BANK_PAGES, max(MIN_BANK_PAGES, _power_of_two(1 + sum(sizes)))),
        )


@dataclass(frozen=True, slots=True)
class SpeechExtents:
    """Sizes of the inputs of speech synthesis that depend on the use by its seconds."""

    frames_per_second: float
    steps_per_frame: int
    """Steps of the decoder's input in a frame."""
    vocab: Range

    @classmethod
    def of(cls, checkpoint: VoiceSet, model: str = "") -> Self:
        """Return the extents of voices, with room for larger vocabularies than theirs.

        Args:
            checkpoint: The voices.
            model: Key in `Manifest.models` of their sizes; empty for those of most.
        """
        rates = checkpoint.sizes(model).upsample_rates
        largest = max(file.vocab_size for file in checkpoint.files.values())
        return cls(
            frames_per_second=checkpoint.sample_rate / prod(rates),
            steps_per_frame=rates[0],
            vocab=(1, USUAL_VOCAB, max(MIN_VOCAB, _power_of_two(largest))),
        )

    def sizes(self, use: Use) -> dict[str, Range]:
        """Return the sizes of a use: one sentence at a time, which may be as short as a frame."""
        _, usual, high = use.seconds
        tokens = (1, round(USUAL_TOKENS * usual), round(MAX_TOKENS * high))
        frames = [max(1, round(seconds * self.frames_per_second)) for seconds in (usual, high)]
        steps = [count * self.steps_per_frame for count in frames]
        return {
            "batch": (1, 1, use.batch[2]),
            "tokens": tokens,
            "frames": (1, frames[0], frames[1]),
            "steps": (1, steps[0], steps[1]),
            "vocab": self.vocab,
        }


def make_profiles(
    inputs: tuple[Tensor, ...],
    uses: tuple[Use, ...],
    extents: Extents | SpeechExtents,
    *,
    whole: bool = False,
    joined: bool = False,
) -> tuple[Profile, ...]:
    """Return one profile per use; a single one for the frontend.

    A graph with a KV cache has one for streaming steps, and one for each use of whole utterances;
    `offline` covers those of `streaming`.

    Kernels of each profile are a share of a plan: 37 MB at the size of facebook/mms-1b-all.

    Args:
        inputs: Inputs of the graph.
        uses: Uses of the model.
        extents: Its sizes that do not depend on the use.
        whole: Whether the frontend takes whole utterances, as a server's does which cuts no slices.
        joined: Whether steps and whole utterances share a profile, if no more rows are in steps;
            for TensorRT for RTX, which compiles kernels for the shapes that run.
    """
    if isinstance(extents, SpeechExtents):
        return tuple(_profile(inputs, use.name, extents.sizes(use)) for use in uses)
    if not whole and any("samples" in tensor.shape for tensor in inputs):
        samples = extents.geometry.samples(SLICE_FRAMES)
        slices = max(1, min(MAX_SLICES, max(use.batch[2] for use in uses) // 2))
        sizes = {"batch": (1, slices, slices), "samples": (samples, samples, samples)}
        return (_profile(inputs, "slices", sizes),)
    if all("cache_slots" not in tensor.shape for tensor in inputs):
        return tuple(_profile(inputs, use.name, _sizes(use, extents)) for use in uses)
    streaming = next((use for use in uses if use.name == "streaming"), USES["streaming"])
    names = {use.name for use in uses}
    wholes = [use for use in uses if use.name != "streaming" or "offline" not in names]
    steps = _profile(inputs, "steps", _step_sizes(streaming, extents))
    first, *others = (_profile(inputs, use.name, _whole_sizes(use, extents)) for use in wholes)
    if joined and streaming.batch[2] <= wholes[0].batch[2]:
        return (_join(steps, first), *others)
    return (steps, first, *others)


def _join(steps: Profile, whole: Profile) -> Profile:
    """Return a profile that covers both."""
    shapes = {
        name: ShapeRange(
            min=tuple(map(min, extent.min, whole.shapes[name].min)),
            opt=tuple(map(max, extent.opt, whole.shapes[name].opt)),
            max=tuple(map(max, extent.max, whole.shapes[name].max)),
        )
        for name, extent in steps.shapes.items()
    }
    return Profile(name=f"{steps.name}, {whole.name}", shapes=shapes)


def _profile(inputs: tuple[Tensor, ...], name: str, sizes: dict[str, Range]) -> Profile:
    shapes = {
        tensor.name: ShapeRange(*(_shape(tensor, sizes, which) for which in range(3)))
        for tensor in inputs
    }
    return Profile(name=name, shapes=shapes)


def _sizes(use: Use, extents: Extents) -> dict[str, Range]:
    """Return the sizes of a use; frames and samples are those of the same audio."""
    geometry = extents.geometry
    # One frame per stride, as windows are cut; the last frame's receptive field extends beyond.
    low, usual, high = (
        max(1, round(seconds * extents.sample_rate / geometry.stride)) for seconds in use.seconds
    )
    high = _whole_slices(high)
    # The most samples that give the most frames; the remainder gives no further frame.
    samples = (geometry.samples(low), geometry.samples(usual), geometry.samples(high + 1) - 1)
    return {
        "batch": use.batch,
        "frames": (low, usual, high),
        "samples": samples,
        "slots": extents.slots,
        "pages": extents.pages,
        "bank_pages": extents.bank_pages,
    }


def _step_sizes(use: Use, extents: Extents) -> dict[str, Range]:
    low, usual, high = (extents.history + frames for frames in NEW_FRAMES)
    return {
        "batch": use.batch,
        "input_frames": (low, usual, _whole_slices(high)),
        "cache_slots": CACHED_FRAMES,
        "kept_frames": NEW_FRAMES,
        "slots": extents.slots,
        "pages": extents.pages,
        "bank_pages": extents.bank_pages,
    }


def _whole_sizes(use: Use, extents: Extents) -> dict[str, Range]:
    """Return the sizes of whole utterances as steps: behind masked frames, without a cache."""
    sizes = _sizes(use, extents)
    _, usual, high = sizes.pop("frames")
    most = _whole_slices(extents.history + high)
    return sizes | {
        "input_frames": (extents.history + 1, extents.history + usual, most),
        "cache_slots": (1, 1, 1),
        "kept_frames": (1, 1, 1),
    }


def _shape(tensor: Tensor, sizes: dict[str, Range], which: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else sizes[size][which] for size in tensor.shape)


def _whole_slices(frames: int) -> int:
    return -(-frames // SLICE_FRAMES) * SLICE_FRAMES


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
