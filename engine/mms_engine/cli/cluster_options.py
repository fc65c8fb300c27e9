"""Options of `mms serve` for replicas on a Ray cluster."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_engine.errors import MmsError

if TYPE_CHECKING:
    from mms_engine.cluster.config import ClusterConfig
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
        try:
            from mms_engine.cluster.application import run
        except ModuleNotFoundError as error:
            raise missing_ray(error) from error
        run(config, cluster)


def missing_ray(error: ModuleNotFoundError) -> MmsError:
    """Return the error for a missing package of the extra."""
    return MmsError(f"--ray needs the package {error.name}: pip install 'mms-engine[cluster]'")


def _variable(name: str) -> dict[str, object]:
    return {"envvar": f"MMS_{name.upper()}", "show_envvar": True}


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
        _cluster(
            "--replica-cpus",
            type=FiniteFloat(min=0, min_open=True),
            metavar="N",
            default=1,
            show_default=True,
            help="Cores reserved for a replica; its threads, unless --threads is given.",
            **_variable("replica_cpus"),
        ),
        _cluster(
            "--replica-gpus",
            type=FiniteFloat(min=0),
            metavar="N",
            default=0,
            show_default=True,
            help="GPUs reserved for a replica; a fraction shares one.",
            **_variable("replica_gpus"),
        ),
    ),
)
"""Adds the options as the argument `cluster`."""
