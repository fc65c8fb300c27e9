"""Dockerfiles and the Compose file: what can be checked without a Docker daemon."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from export_runs import run_export
from mms_engine.cli import main
from server_process import running

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CACHE = "/var/cache/mms"


def instructions(path):
    """Return the instructions of a Dockerfile, each as its name and the rest of its lines."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line]


def values(path, name):
    return [rest for kind, rest in instructions(path) if kind == name]


def in_context(name):
    """Whether a file of the repository is part of the build's context: the last match decides."""
    found = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = name.split("/")
        heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        candidates = parts if "**" in line else heads
        if any(fnmatch(one, pattern) for one in candidates):
            found = line.startswith("!")
    return found


def compose():
    return yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sources_and_extras_exist(path):
    copied = [rest for rest in values(path, "COPY") if not rest.startswith("--from=build ")]
    assert copied == [". ."]
    installs = [rest for rest in values(path, "RUN") if "pip install" in rest]
    assert installs
    for line in installs:
        words = shlex.split(line.split("pip install")[1].split("&&")[0])
        constraints = words[words.index("-c") + 1]
        assert (ROOT / constraints).is_file()
        assert in_context(constraints)
        (extras,) = re.findall(r"\.\[(.*)\]", " ".join(words))
        assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
        assert len({"cpu", "gpu"} & set(extras.split(","))) == 1


def test_context_has_what_the_build_needs_and_nothing_else():
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    kept = [name for name in names if in_context(name)]
    packages = PROJECT["tool"]["scikit-build"]["wheel"]["packages"]
    sources = ("CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "kernels/")
    for name in names:
        if name.startswith((*packages, *sources)):
            assert name in kept, name
    folders = {name.split("/")[0] for name in kept if "/" in name}
    assert folders == {"bench", "engine", "export", "kernels"}
    assert sum((ROOT / name).stat().st_size for name in kept) < 8 << 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_command_has_options_of_the_server(path):
    (entry,), (command,) = values(path, "ENTRYPOINT"), values(path, "CMD")
    assert json.loads(entry) == ["mms"]
    name, *given = json.loads(command)
    usage = CliRunner().invoke(main, [name, "--help"]).output
    for option in given[::2]:
        assert re.search(rf"{option}\b", usage)
    (user,) = values(path, "USER")
    assert f"--uid {user} " in path.read_text()
    assert any(f"XDG_CACHE_HOME={CACHE}" in rest for rest in values(path, "ENV"))


def test_compose_uses_files_and_variables_that_exist():
    usage = CliRunner().invoke(main, ["serve", "--help"], terminal_width=200).output
    for name, service in compose()["services"].items():
        build = service["build"]
        assert ROOT / build["dockerfile"] in FILES
        assert (ROOT / "docker" / build["context"]).resolve() == ROOT
        assert service["image"] == f"mms-engine:{name}"
        for variable in service["environment"].keys() - {"MMS_API_KEY"}:
            assert variable in usage
        bundles, cache = service["volumes"]
        assert bundles.endswith(f":{CACHE}/mms-engine/bundles:ro")
        assert cache == f"cache:{CACHE}"
        (port,) = service["ports"]
        assert port.startswith("127.0.0.1:")
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert grace > int(service["environment"]["MMS_DRAIN_SECONDS"])


def test_server_with_the_containers_environment_is_healthy(tmp_path):
    bundles = tmp_path / "mms-engine" / "bundles"
    run_export("demo", bundles / "demo")
    (path,) = [path for path in FILES if path.stem == "cpu"]
    (check,) = values(path, "HEALTHCHECK")
    _, *check = json.loads(check.split(" CMD ")[1])
    unset = re.compile(r"\$\{\w+:-(.*)\}")
    given = compose()["services"]["cpu"]["environment"]
    env = {name: unset.sub(r"\1", value) for name, value in given.items()}
    with running(env={**env, "XDG_CACHE_HOME": str(tmp_path)}) as server:
        local = [part.replace(":8000/", f":{server.port}/") for part in check]
        healthy = subprocess.run([sys.executable, *local], check=False, capture_output=True)
        assert healthy.returncode == 0, healthy.stderr
        assert server.get("/v1/models")[0] == 200
    stopped = subprocess.run([sys.executable, *local], check=False, capture_output=True)
    assert stopped.returncode == 1
