"""The command `mms embed`."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from safetensors import safe_open

from embedding_kinds import LAYERS
from mms_engine import Embedder
from mms_engine.cli import main

RATE = 16_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two recordings in `clips`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    random = np.random.default_rng(0)
    for name, seconds in (("a.wav", 1.0), ("b.flac", 0.5)):
        noise = random.normal(0, 0.1, int(RATE * seconds)).astype(np.float32)
        soundfile.write(f"clips/{name}", noise, RATE)
    return tmp_path


def embed(bundle: Path, *arguments: object) -> Result:
    options = ["--bundle", bundle, "--threads", "1"]
    return CliRunner().invoke(main, ["embed", *map(str, [*arguments, *options])])


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("pool", ["mean", "none"])
def test_file_has_an_array_per_recording(
    folder: Path, bundles: dict[str, Path], suffix: str, pool: str
) -> None:
    bundle, out = bundles["pretrained"], folder / f"out.{suffix}"
    result = embed(bundle, "clips", "--layer", 1, "--pool", pool, "-o", out)
    assert result.exit_code == 0, result.output
    found = {}
    if suffix == "npz":
        found = dict(np.load(out))
    else:
        with safe_open(out, "numpy") as reader:
            found = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
            metadata = json.loads(reader.metadata()["mms"])
        assert (metadata["layer"], metadata["pool"]) == (1, pool)
        assert metadata["frame_seconds"] == 0.02
    with Embedder.open(bundle, threads=1) as embedder:
        expected = {
            name: embedder.embed(name, 1, pool).values for name in ("clips/a.wav", "clips/b.flac")
        }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    before = out.read_bytes()
    assert embed(bundle, "clips", "--layer", 1, "--pool", pool, "-o", out).exit_code == 0
    assert out.read_bytes() == before


def test_failed_recording_is_reported_and_others_are_written(
    folder: Path, bundles: dict[str, Path]
) -> None:
    Path("clips/c.wav").write_bytes(b"no audio")
    result = embed(bundles["lid"], "clips", "clips/a.wav", "-o", "out.npz")
    assert result.exit_code == 1
    assert "Error: clips/c.wav:" in result.stderr
    assert "out.npz is incomplete: 1 of 3 recordings failed" in result.stderr
    assert sorted(np.load(folder / "out.npz")) == ["clips/a.wav", "clips/b.flac"]


def test_nothing_is_written_without_a_recording(folder: Path, bundles: dict[str, Path]) -> None:
    (folder / "out.npz").write_bytes(b"kept")
    for names in (["missing.wav"], ["missing.wav", "missing.flac"]):
        assert embed(bundles["pretrained"], *names, "-o", "out.npz").exit_code == 1
    assert (folder / "out.npz").read_bytes() == b"kept"
    assert [path.name for path in folder.iterdir()] == ["clips", "out.npz"]


@pytest.mark.parametrize(
    ("kind", "arguments", "code", "message"),
    [
        ("pretrained", ["-o", "out.csv"], 2, "must end in .npz or .safetensors"),
        ("pretrained", ["-o", "out.npz", "--layer", LAYERS + 1], 2, f"has layers 0 to {LAYERS}"),
        ("pretrained", ["-o", "out.npz", "--lang", "eng"], 1, "leave out 'eng'"),
        ("asr", ["-o", "out.npz"], 1, "name one of its 3 languages"),
    ],
)
def test_refused_arguments(
    folder: Path, bundles: dict[str, Path], kind: str, arguments: list, code: int, message: str
) -> None:
    result = embed(bundles[kind], "clips/a.wav", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not list(folder.glob("out*"))


def test_output_may_not_be_an_input(folder: Path, bundles: dict[str, Path]) -> None:
    wave = folder / "clips/a.npz"
    wave.write_bytes(Path("clips/a.wav").read_bytes())
    result = embed(bundles["pretrained"], wave, "-o", wave)
    assert result.exit_code == 1
    assert wave.read_bytes() == Path("clips/a.wav").read_bytes()
