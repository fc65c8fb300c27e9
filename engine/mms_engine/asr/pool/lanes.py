"""Lanes of a pool: concurrent encoder runs, and the threads of each."""

from dataclasses import dataclass

from mms_engine.bundle.manifest import Wav2Vec2

_PARAMETERS_PER_THREAD = 100_000_000
"""Encoder parameters per thread: 1 s of audio (50 frames) is then 10 GFLOP per thread, 0.1 to
0.2 s on one core."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Concurrent encoder runs."""

    count: int
    threads: int | None
    """Threads per run; `None` for all threads of the recogniser."""


def plan_lanes(architecture: Wav2Vec2, device: str, cores: int, wanted: int = 0) -> Lanes:
    """Divide cores among as many concurrent runs as leave each step short.

    Threads synchronise at every operation of a graph: on the demo, two threads take a quarter more
    CPU time for a step than one. A small encoder therefore gets one thread per run, a large one as
    many as keep a step shorter than a chunk.

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
