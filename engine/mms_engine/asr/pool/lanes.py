"""Lanes: encoder runs of streams at the same time, and the threads of each."""

from dataclasses import dataclass

from mms_engine.bundle.manifest import Wav2Vec2

_PARAMETERS_PER_THREAD = 100_000_000
"""Parameters of the encoder's layers per thread: a step of 1 s of audio, 50 frames, is then 10
GFLOP per thread, 0.1 to 0.2 s on one core."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Concurrent runs, and the threads of each."""

    count: int
    threads: int | None
    """`None` where a run uses all threads of the recogniser."""


def plan_lanes(architecture: Wav2Vec2, device: str, cores: int, wanted: int = 0) -> Lanes:
    """Divide cores so that a step is quick and as many as possible run at once.

    Threads synchronise at every operation of a graph: on the demo, two of them take a quarter more
    CPU time for a step than one. A small encoder therefore gets one thread per step, a large one
    as many as bring its step below a chunk.

    Args:
        architecture: Sizes of the encoder.
        device: Device of the encoder; a GPU has one lane.
        cores: Usable cores.
        wanted: Number of lanes, at most `cores`; 0 for the device's default.
    """
    if device != "cpu" or cores == 1:
        return Lanes(1, None)
    needed = min(cores, -(-_layer_parameters(architecture) // _PARAMETERS_PER_THREAD))
    count = min(wanted, cores) or cores // needed
    return Lanes(count, cores // count if count > 1 else None)


def _layer_parameters(architecture: Wav2Vec2) -> int:
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    return architecture.num_hidden_layers * hidden * (4 * hidden + 2 * inner)
