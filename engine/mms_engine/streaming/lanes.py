"""How the cores are shared out among steps that run at the same time."""

from dataclasses import dataclass

from mms_engine.bundle.schema import Architecture

_PARAMETERS_A_THREAD = 100_000_000
"""Of the encoder's layers: a step of 1 s of audio, 50 frames, is then 10 GFLOP a thread, 0.1 to
0.2 s on one core."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Runs at the same time, and the threads of each."""

    count: int
    threads: int | None
    """`None` where a run takes all the threads of the recogniser."""


def plan_lanes(architecture: Architecture, device: str, cores: int, wanted: int = 0) -> Lanes:
    """Share out cores so that a step is quick, and as many run at once as that leaves room for.

    Threads wait for each other at every operation of a graph: on the demo, two of them take a
    quarter more CPU time for a step than one. So a small encoder gets one a step, and a large one
    as many as bring its step below a chunk.

    Args:
        architecture: Of the encoder.
        device: Where it runs; a GPU has one lane.
        cores: That may be used.
        wanted: Lanes that the caller asks for, at most `cores`; 0 for the device's own.
    """
    if device != "cpu" or cores == 1:
        return Lanes(1, None)
    needed = min(cores, -(-_layer_parameters(architecture) // _PARAMETERS_A_THREAD))
    count = min(wanted, cores) or cores // needed
    return Lanes(count, cores // count if count > 1 else None)


def _layer_parameters(architecture: Architecture) -> int:
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    return architecture.num_hidden_layers * hidden * (4 * hidden + 2 * inner)
