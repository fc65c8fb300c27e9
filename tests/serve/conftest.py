"""Bundles and servers for the tests of the server, each made once."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browser import chromium_path
from engine_demo import Clip, demo_clips
from exporting import export
from mms_engine import Identifier, Recognizer
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.realtime.session import Session
from realtime_messages import make_session
from server_process import ServerProcess, running
from tiny_models import make_tiny_lid


@pytest.fixture(scope="session")
def lid_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of language identification. Not to be written to."""
    folder = tmp_path_factory.mktemp("lid")
    return export(make_tiny_lid(folder / "checkpoint"), folder / "bundle")


@pytest.fixture(scope="session")
def recognizer(demo_bundle: Path) -> Iterator[Recognizer]:
    with Recognizer.open(demo_bundle, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    return demo_clips()


@pytest.fixture(scope="session")
def clip(clips: list[Clip]) -> Clip:
    return next(one for one in clips if one.path.name == "eng_dir-first.flac")


@pytest.fixture(scope="module")
def playwright() -> Iterator:
    """The driver of Chromium; its event loop runs until the end of the module."""
    chromium_path()
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def server(demo_bundle: Path, lid_bundle: Path, demo_voice: Path) -> Iterator[ServerProcess]:
    """A server with every task and the default limits."""
    bundles = (demo_bundle, lid_bundle, demo_voice)
    with running(*(part for bundle in bundles for part in ("--bundle", bundle))) as started:
        yield started


@pytest.fixture(scope="session")
def live(demo_bundle: Path, demo_lid: Path) -> Iterator[ServerProcess]:
    """A server that identifies the demo's languages, with the default limits."""
    with running("--bundle", demo_bundle, "--bundle", demo_lid) as started:
        yield started


@pytest.fixture(scope="session")
def plain_models(recognizer: Recognizer, lid_bundle: Path) -> Iterator[Models]:
    """The demo model and an identifier, for tests that run neither."""
    aliases = {"whisper-1": "demo", "gpt-live-transcribe": "demo"}
    with Identifier.open(lid_bundle, threads=1) as identifier:
        yield Models([SpeechModel("demo", recognizer, None, None)], identifier, aliases=aliases)


@pytest.fixture(scope="session")
def make(plain_models: Models) -> Callable[..., Session]:
    """Function that returns a realtime session, perhaps with an update of its configuration."""
    return functools.partial(make_session, plain_models)
