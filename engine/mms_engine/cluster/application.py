"""The Ray Serve application: its deployment, its limits, and how it starts and ends."""

import contextlib
import dataclasses
import logging
import math
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, HTTPOptions

from mms_engine.backends.options import RunOptions
from mms_engine.cluster.autoscaling import replicas_for_load
from mms_engine.cluster.config import ClusterConfig
from mms_engine.cluster.connection import connected, listens
from mms_engine.cluster.replica import Replica
from mms_engine.errors import MmsError
from mms_engine.serve.auth import Keyring, read_keyring
from mms_engine.serve.config import LOCAL_HOSTS, Limits, ServeConfig
from mms_engine.serve.server import check_certificate

logger = logging.getLogger(__name__)

NAME = "mms"
"""Name of the application on the cluster."""
_HEALTH_SECONDS = 5.0
"""Time between two checks of a replica."""
_UPSCALE_SECONDS = 15.0
_DOWNSCALE_SECONDS = 300.0
_GOODBYE_SECONDS = 5.0


def application(config: ServeConfig, cluster: ClusterConfig, keyring: Keyring) -> serve.Application:
    """Return the application; `serve.run` deploys it.

    Ray's limits are those of the server: what it refuses has a reason, and what Ray would queue or
    cut has none.
    """
    limits, threads = config.limits, config.run.threads or math.ceil(cluster.cpus)
    own = dataclasses.replace(config, run=dataclasses.replace(config.run, threads=threads))
    scaling: dict[str, Any] = {"num_replicas": cluster.replicas}
    if cluster.max_replicas > cluster.replicas:
        scaling = {"num_replicas": None, "autoscaling_config": _autoscaling(cluster)}
    deploy: Any = serve.deployment(
        name=NAME,
        max_ongoing_requests=limits.max_connections,
        graceful_shutdown_timeout_s=limits.drain_seconds + _GOODBYE_SECONDS,
        health_check_period_s=_HEALTH_SECONDS,
        ray_actor_options={"num_cpus": cluster.cpus, "num_gpus": cluster.gpus},
        **scaling,
    )
    bound: serve.Application = deploy(serve.ingress(None)(Replica)).bind(
        own, keyring, is_alone=max(cluster.replicas, cluster.max_replicas) == 1
    )
    return bound


def _autoscaling(cluster: ClusterConfig) -> AutoscalingConfig:
    policy: Any = AutoscalingPolicy
    return AutoscalingConfig(
        min_replicas=cluster.replicas,
        max_replicas=cluster.max_replicas,
        upscale_delay_s=_UPSCALE_SECONDS,
        downscale_delay_s=_DOWNSCALE_SECONDS,
        policy=policy(policy_function=replicas_for_load),
    )


def app(arguments: Mapping[str, Any]) -> serve.Application:
    """Return the application for `serve run` and `serve deploy`, of a configuration in YAML.

    Args:
        arguments: Fields of `ServeConfig`, among them `bundles`, and under `cluster` those of
            `ClusterConfig`. Host, port and certificate are those of Ray's own configuration.

    Raises:
        MmsError: a field is unknown or has a wrong value, or the keys cannot be read.
    """
    own = {name: value for name, value in arguments.items() if name != "cluster"}
    config: ServeConfig = _read(own, ServeConfig, "")
    cluster: ClusterConfig = _read(arguments.get("cluster", {}), ClusterConfig, "cluster.")
    return application(config, cluster, read_keyring(config.keys))


def _read(values: Mapping[str, Any], kind: type[Any], prefix: str) -> Any:  # noqa: ANN401
    _check_names(values, kind, prefix)
    for name, nested in (("limits", Limits), ("run", RunOptions)):
        if isinstance(given := values.get(name), Mapping):
            _check_names(given, nested, f"{name}.")
    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MmsError(f"{prefix}{where}: {first['msg']}") from error


def _check_names(values: Mapping[str, Any], kind: type[Any], prefix: str) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(values.keys() - known):
        raise MmsError(f"no option {prefix}{unknown[0]}; there are {', '.join(sorted(known))}")


def run(config: ServeConfig, cluster: ClusterConfig) -> None:
    """Serve on a cluster until SIGTERM or SIGINT, then drain and remove the application.

    Raises:
        MmsError: there is no cluster, no replica starts, or the files of keys or TLS cannot be
            used.
    """
    check_certificate(config.tls_certificate, config.tls_key)
    keyring = read_keyring(config.keys)
    if keyring.is_open and config.host not in LOCAL_HOSTS:
        logger.warning("no API keys: everyone who reaches %s may use the server", config.host)
    if config.session_store is None and max(cluster.replicas, cluster.max_replicas) > 1:
        logger.warning("without a session store, a stream ends with its replica")
    ended = threading.Event()
    with connected(cluster.address), _signals(ended):
        serve.start(
            http_options=HTTPOptions(
                host=config.host,
                port=config.port,
                keep_alive_timeout_s=math.ceil(config.limits.idle_seconds),
                ssl_certfile=_text(config.tls_certificate),
                ssl_keyfile=_text(config.tls_key),
            )
        )
        try:
            serve.run(application(config, cluster, keyring), name=NAME)
        except RuntimeError as error:
            raise MmsError(f"no replica started: {error}") from error
        _report(config)
        ended.wait()
        serve.delete(NAME)
        if not serve.status().applications:
            # The proxies too, so that the next server may have another address.
            serve.shutdown()  # type: ignore[no-untyped-call]


def _report(config: ServeConfig) -> None:
    """Log the address, or that nothing listens there."""
    scheme = "https" if config.tls_certificate is not None else "http"
    address = f"{scheme}://{config.host}:{config.port}"
    if listens(config.host, config.port):
        logger.info("listening on %s", address)
    else:
        logger.warning(
            "%s does not answer on this machine: it has no replica, or Serve was started on the "
            "cluster with another address, which serve shutdown ends",
            address,
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


@contextlib.contextmanager
def _signals(ended: threading.Event) -> Iterator[None]:
    """Set an event at the first signal; a second one ends the process at once."""

    def end(number: int, _: object) -> None:
        if ended.is_set():
            raise SystemExit(128 + number)
        ended.set()

    kept = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
