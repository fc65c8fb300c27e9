"""What a model takes of a GPU's memory, and how many languages fit beside it."""

from dataclasses import dataclass, replace

from mms_bench.roofline.hardware import Gpu
from mms_bench.roofline.work import FRONTEND, ITEMSIZE, Load, blocks
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.types import Precision

FRONTEND_FRAMES = 100
"""Frames the frontend runs on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes on the device."""

    weights: float
    """Of both graphs, no language among them."""
    activations: float
    """Of the largest block of a run, every tensor in it at once: what an unfused runtime holds."""
    language: float
    """Of one row of the adapter bank, its head as wide as the widest."""

    def languages(self, gpu: Gpu) -> int:
        """Return how many rows fit beside the rest; 0 where not even one does."""
        free = (gpu.memory - gpu.reserve) * 1e9 - self.weights - self.activations
        return max(0, int(free // self.language))


def footprint(architecture: Wav2Vec2Ctc, load: Load) -> Footprint:
    """Return what a run takes."""
    alone = replace(load, languages=0)
    work = blocks(architecture, alone)
    piece = replace(alone, frames=min(load.frames, FRONTEND_FRAMES))
    pieces = [block for block in blocks(architecture, piece) if block.stage in FRONTEND]
    encoder = [block for block in work if block.stage not in FRONTEND]
    return Footprint(
        weights=sum(block.weights * block.repeats for block in work),
        activations=max(sum(block.edges) + sum(block.inner) for block in (*pieces, *encoder)),
        language=language_bytes(architecture, load.vocab, load.precision),
    )


def language_bytes(architecture: Wav2Vec2Ctc, vocab: int, precision: Precision) -> float:
    """Return the bytes of one language in the bank: adapters, head weights and biases."""
    values = architecture.adapter_parameters + vocab * (architecture.hidden_size + 1)
    return float(values * ITEMSIZE[precision])
