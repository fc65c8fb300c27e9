"""Tiny random voices of three kinds and their bundle, made once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporting import export
from mms_engine import Synthesizer
from tiny_voices import LETTERS, TINY, make_voice

TATAR = " абвгдежзийклмнопрстуфхцчшщъыьэюяѳәңһү"


@pytest.fixture(scope="session")
def voice_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voices in the hub's layout: English, Tatar, and Korean in Latin letters."""
    folder = tmp_path_factory.mktemp("voices")
    make_voice(folder / "eng", "eng", **TINY)
    make_voice(folder / "tat", "tat", letters=TATAR, seed=1, **TINY)
    make_voice(folder / "kor", "kor", letters=LETTERS[:29], seed=2, **TINY)
    config = folder / "kor" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "is_uroman": True}))
    return folder


@pytest.fixture(scope="session")
def voice_bundle(voice_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to. Its voices are in float32, to be compared with transformers."""
    out = tmp_path_factory.mktemp("bundle") / "voices"
    return export(voice_folder, out, "--precision", "fp32,int8", "--adapter-dtype", "float32")


@pytest.fixture(scope="session")
def half_bundle(voice_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The English voice in float16, as voices are shipped."""
    out = tmp_path_factory.mktemp("bundle") / "half"
    return export(voice_folder, out, "--lang", "eng")


@pytest.fixture(scope="session")
def synthesizer(voice_bundle: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(voice_bundle, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def int8_synthesizer(voice_bundle: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(voice_bundle, threads=1, precision="int8") as opened:
        yield opened
