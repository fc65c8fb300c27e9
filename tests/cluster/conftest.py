"""One Ray cluster, and one server of two replicas on it, for the tests of the session."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mms_engine import Recognizer
from mms_engine.serve.auth import KEY_VARIABLE
from ray_cluster import API_KEY, free_port, ray_cluster, replicas, require_ray
from server_process import ServerProcess

_CPUS = 4
"""Cores that Ray counts: two replicas and two actors, however many there are."""


@pytest.fixture(scope="session")
def recognizer(demo_bundle: Path) -> Iterator[Recognizer]:
    with Recognizer.open(demo_bundle, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Address of a cluster."""
    require_ray()
    # The names of Ray's sockets leave little room for that of the folder.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    try:
        with ray_cluster(folder, _CPUS) as found:
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def server(address: str, demo_bundle: Path, store: Path) -> Iterator[ServerProcess]:
    """Two replicas that share a folder of sessions, with a key of the environment."""
    options = ("--bundle", demo_bundle, "--no-admission", "--session-store", store)
    options = (*options, "--ray", address, "--replicas", 2, "--port", free_port())
    started = ServerProcess(*options, env={KEY_VARIABLE: API_KEY})
    try:
        yield started
        assert started.terminate() == 0, started.log
        assert not replicas()
    finally:
        started.close()
