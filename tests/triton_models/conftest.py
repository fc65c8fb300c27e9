"""A model repository of the demo, made once."""

from pathlib import Path

import pytest

import triton_backend
from export_runs import run_export
from mms_engine import Recognizer


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton")
    run_export("demo", folder / "bundle", triton=folder / "models")
    return folder / "models"


@pytest.fixture(scope="session")
def backend():
    with pytest.MonkeyPatch.context() as monkeypatch:
        triton_backend.install(monkeypatch)
        yield triton_backend


@pytest.fixture(scope="session")
def recognizer(repository):
    with Recognizer.open(repository.parent / "bundle") as opened:
        yield opened


@pytest.fixture(scope="session")
def clips() -> list[tuple[Path, str]]:
    """A clip in each of five languages."""
    folder = Path(__file__).parents[2] / "examples" / "demo" / "clips"
    found = {path.name[:3]: path for path in sorted(folder.glob("*.flac"))}
    assert len(found) == 5
    return [(path, code) for code, path in found.items()]
