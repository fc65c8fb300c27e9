"""A Ray cluster of this machine for the tests, in a process group of its own."""

import contextlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

API_KEY = "key of the server"
_PATIENCE_SECONDS = 60.0


def require_ray() -> None:
    """Skip the test without Ray, or fail if it is required."""
    if importlib.util.find_spec("ray") is not None:
        return
    missing = "no Ray: the extra [cluster] is not installed"
    if os.environ.get("MMS_REQUIRE_RAY"):
        pytest.fail(missing)
    pytest.skip(missing)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def ray_cluster(folder: Path, cpus: int) -> Iterator[str]:
    """Yield the address of a cluster whose processes and files end with the context."""
    port = free_port()
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    own = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    options = {
        "node-ip-address": "127.0.0.1",
        "port": port,
        "num-cpus": cpus,
        "num-gpus": 0,
        "temp-dir": folder,
        "object-store-memory": 100 << 20,
        "include-dashboard": "false",
        "dashboard-agent-listen-port": free_port(),
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("w") as log:
        for name, value in own.items():
            patch.setenv(name, value)
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_listening(port, process, folder / "log")
            yield f"127.0.0.1:{port}"
        finally:
            _end(process)


def _wait_listening(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def _end(process: subprocess.Popen) -> None:
    """Kill the cluster: what is tested has ended before."""
    own = [*psutil.Process(process.pid).children(recursive=True), process]
    for one in own:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    psutil.wait_procs(own[:-1], timeout=_PATIENCE_SECONDS)


def replicas() -> list[psutil.Process]:
    """Return the processes of the replicas of `mms serve --ray`."""
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if "ServeReplica:mms" in " ".join(one.info["cmdline"] or ())
    ]
