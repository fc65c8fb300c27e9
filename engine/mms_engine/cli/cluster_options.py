"""Options of `mms serve` and `mms transcribe` for a Ray cluster."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_engine.errors import MmsError

if TYPE_CHECKING:
    from mms_engine.cluster.bulk import BulkRecognizer
    from mms_engine.cluster.config import BulkPlan, ClusterConfig
    from mms_engine.serve.config import ServeConfig

_cluster = section("Cluster (--ray)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChoice:
    """Options of the command line for a cluster."""

    ray: str | None
    replicas: int
    max_replicas: int | None
    replica_cpus: float
    replica_gpus: float

    def config(self, *, port: int, wyoming_port: int | None) -> "ClusterConfig | None":
        """Return the configuration of the cluster; `None` without `--ray`.

        Args:
            port: Port of the server.
            wyoming_port: That of the Wyoming protocol; `None` if it is not served.

        Raises:
            click.UsageError: options contradict each other.
        """
        from mms_engine.cluster.config import ClusterConfig

        if self.ray is None:
            if self.max_replicas or self.replicas > 1:
                raise click.UsageError("--replicas and --max-replicas need --ray")
            return None
        if wyoming_port is not None:
            raise click.UsageError("--ray has no Wyoming protocol: omit --wyoming-port")
        if not port:
            raise click.UsageError("--ray needs a port: --port 0 is for a server without it")
        try:
            return ClusterConfig(
                address=self.ray,
                replicas=self.replicas,
                max_replicas=self.max_replicas or 0,
                cpus=self.replica_cpus,
                gpus=self.replica_gpus,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    def run(self, config: "ServeConfig", cluster: "ClusterConfig") -> None:
        """Serve on the cluster until SIGTERM or SIGINT.

        Raises:
            MmsError: Ray is not installed, there is no cluster, or no replica starts.
        """
        logging.getLogger("mms_engine.cluster").setLevel(logging.INFO)
        with _installed():
            from mms_engine.cluster.application import run
        run(config, cluster)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkChoice:
    """Options of the command line for recordings in bulk."""

    ray: str | None
    actors: int | None
    actor_cpus: float
    actor_gpus: float

    @property
    def threads(self) -> int:
        """Threads of an actor, unless others are given."""
        return math.ceil(self.actor_cpus)

    def check(self, *, has_stdin: bool) -> None:
        """Check the options for contradictions; `has_stdin` if standard input is a recording.

        Raises:
            click.UsageError: one needs `--ray`, or that needs files.
            MmsError: Ray is not installed.
        """
        if self.ray is None:
            if self.actors:
                raise click.UsageError("--actors needs --ray")
            return
        if has_stdin:
            raise click.UsageError("--ray needs files: standard input is read on one machine")
        with _installed():
            import mms_engine.cluster.bulk  # noqa: F401

    def open(self, plan: "BulkPlan") -> "contextlib.AbstractContextManager[BulkRecognizer]":
        """Return a recogniser whose jobs run on the cluster; see `open_bulk` for the errors."""
        from mms_engine.cluster.bulk import open_bulk
        from mms_engine.cluster.config import BulkConfig

        config = BulkConfig(
            address=str(self.ray),
            actors=self.actors or 0,
            cpus=self.actor_cpus,
            gpus=self.actor_gpus,
        )
        return open_bulk(config, plan)


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    """Name the extra where one of its packages is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MmsError(
            f"--ray needs the package {error.name}: pip install 'mms-engine[cluster]'"
        ) from error


def _variable(name: str) -> dict[str, object]:
    return {"envvar": f"MMS_{name.upper()}", "show_envvar": True}


def _reserved(
    name: str, unit: str, variable: Callable[[str], dict[str, object]] = lambda _: {}
) -> tuple[Callable[[Any], Any], ...]:
    """Return the options for what a replica or actor reserves; `unit` is what help calls it."""
    return (
        _cluster(
            f"--{name}-cpus",
            type=FiniteFloat(min=0, min_open=True),
            metavar="N",
            default=1,
            show_default=True,
            help=f"Cores reserved for {unit}; its threads, unless --threads is given.",
            **variable(f"{name}_cpus"),
        ),
        _cluster(
            f"--{name}-gpus",
            type=FiniteFloat(min=0),
            metavar="N",
            default=0,
            show_default=True,
            help=f"GPUs reserved for {unit}; a fraction shares one.",
            **variable(f"{name}_gpus"),
        ),
    )


cluster_options = grouped(
    "cluster",
    ClusterChoice,
    (
        _cluster(
            "--ray",
            is_flag=False,
            flag_value="local",
            metavar="[ADDRESS]",
            help="Ray cluster to run replicas of the server on: auto for the one that this machine "
            "belongs to, or HOST:PORT of its head; without an address, one of this machine alone, "
            "which ends with the server.  [default: no cluster]",
            **_variable("ray"),
        ),
        _cluster(
            "--replicas",
            type=click.IntRange(1),
            metavar="N",
            default=1,
            show_default=True,
            help="Replicas; the least number with --max-replicas.",
            **_variable("replicas"),
        ),
        _cluster(
            "--max-replicas",
            type=click.IntRange(1),
            metavar="N",
            help="Most replicas, of which as many run as the load of the engines needs.  "
            "[default: as --replicas]",
            **_variable("max_replicas"),
        ),
        *_reserved("replica", "a replica", _variable),
    ),
)
"""Adds the options as the argument `cluster`."""
bulk_options = grouped(
    "bulk",
    BulkChoice,
    (
        _cluster(
            "--ray",
            metavar="ADDRESS",
            help="Ray cluster to transcribe on: local for one of this machine alone, auto for the "
            "one that it belongs to, or HOST:PORT of its head. Its machines must see the bundle "
            "and the files under the same paths; URLs need no shared folder.  [default: no "
            "cluster]",
            **_variable("ray"),
        ),
        _cluster(
            "--actors",
            type=click.IntRange(1),
            metavar="N",
            help="Engines on the cluster.  [default: as many as fit]",
        ),
        *_reserved("actor", "an engine"),
    ),
)
"""Adds the options as the argument `bulk`."""
