"""Connection to a Ray cluster."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator

import ray

from mms_engine.cluster.config import LOCAL
from mms_engine.errors import MmsError

_CONNECT_SECONDS = 5.0


@contextlib.contextmanager
def connected(address: str, level: int = logging.INFO) -> Iterator[None]:
    """Connect to a cluster, or start one of this machine that ends with the context.

    Args:
        address: As in `ClusterConfig`.
        level: Level of Ray's own log messages.

    Raises:
        MmsError: there is none at the address.
    """
    _check_reachable(address)
    if address == LOCAL:  # Ray reports the use of a cluster to its makers, unless told not to
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            logging_level=level,
        )
    except Exception as error:  # Ray raises bare ones too, as when its processes start too slowly
        raise MmsError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check that something listens at `HOST:PORT`, which Ray would try for minutes.

    Raises:
        MmsError: nothing does.
    """
    host, separator, port = address.rpartition(":")
    if not (separator and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise MmsError(f"no Ray cluster at {address}: {error.strerror or error}") from error


def listens(host: str, port: int) -> bool:
    """Return whether a port of this machine answers."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        socket.create_connection((own, port), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
