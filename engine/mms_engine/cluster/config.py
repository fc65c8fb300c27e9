"""Configuration of a cluster: its address, the replicas of the server, the actors of a bulk run."""

from dataclasses import dataclass
from pathlib import Path

from mms_engine.asr.options import RecognizerOptions
from mms_engine.audio import AudioLimits
from mms_engine.lid.options import IdentifierOptions
from mms_engine.routing.options import RoutingOptions

LOCAL = "local"
"""Address of a cluster of this machine alone, which lives as long as the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Replicas of the server on a Ray cluster."""

    address: str = LOCAL
    """`local`, `auto` for the cluster that this machine belongs to, or `HOST:PORT` of its head."""
    replicas: int = 1
    """Replicas; the least number where there is a most."""
    max_replicas: int = 0
    """Most replicas, of which as many run as the load needs; 0 for a fixed number."""
    cpus: float = 1.0
    """Cores reserved for a replica, and its threads unless `RunOptions.threads` is given."""
    gpus: float = 0.0
    """GPUs reserved for a replica; a fraction shares one."""

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise ValueError(f"replicas is {self.replicas}, must be at least 1")
        if self.max_replicas and self.max_replicas < self.replicas:
            raise ValueError(
                f"max_replicas is {self.max_replicas}, must be at least replicas, {self.replicas}"
            )
        if not (self.cpus > 0 and self.gpus >= 0):
            raise ValueError(f"cpus is {self.cpus:g} and gpus {self.gpus:g}, must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkConfig:
    """Actors that transcribe recordings on a Ray cluster."""

    address: str = LOCAL
    """Address, as in `ClusterConfig`."""
    actors: int = 0
    """Engines; 0 for as many as fit the cluster."""
    cpus: float = 1.0
    """Cores reserved for an actor."""
    gpus: float = 0.0
    """GPUs reserved for an actor; a fraction shares one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPlan:
    """Work of each actor. The paths are those of the machines of the cluster."""

    bundle: Path
    options: RecognizerOptions
    limits: AudioLimits
    identifier: Path | None = None
    """Bundle of language identification, for the language `auto`; `None` where it is not used."""
    identification: IdentifierOptions | None = None
    routing: RoutingOptions | None = None
