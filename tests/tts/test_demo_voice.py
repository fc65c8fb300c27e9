"""The demo voice through its bundle: parity, streams, sound, and 8-bit graphs."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from transformers import VitsModel, VitsTokenizer

from exporting import export
from mms_engine import SpeechOptions, Synthesizer
from mms_engine.cli import main
from mms_engine.system import demo_bundle
from mms_engine.types import Precision
from mms_export import cli as mms_export

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from examples.demo.voices.evaluate import sound_figures  # noqa: E402
from examples.demo.voices.publish import VOICE  # noqa: E402
from examples.demo.voices.text import held_out_sentences  # noqa: E402

TEXT = "the river was high after the rain"
LONG = f"{TEXT}, and the old bridge stood in the water until the morning came"
RATE = 22_050
SPOKEN = 10


@pytest.fixture(scope="module")
def voice(demo_voice: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(demo_voice, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def int8_voice(demo_voice: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(demo_voice, threads=1, precision="int8") as opened:
        yield opened


def joined(chunks) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.concatenate([chunk.samples for chunk in chunks])


def readings(opened: Synthesizer) -> list[np.ndarray]:
    sentences = held_out_sentences()[:SPOKEN]
    return [opened.synthesize(text, seed=n).samples for n, text in enumerate(sentences)]


def spectral_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the log-spectral distance in dB, over frames of 1024, with a floor of -60 dB."""

    def levels(samples: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256]
        power = np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2
        return 10 * np.log10(power + 1e-6 * power.max())

    difference = levels(first) - levels(second)
    return float(np.sqrt((difference**2).mean(axis=1)).mean())


@pytest.fixture(scope="module")
def exact_voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synthesizer]:
    """The voice stored in float32: float16 rounds the folded weights once more."""
    out = tmp_path_factory.mktemp("bundle") / "exact"
    export("demo-voice", out, "--adapter-dtype", "float32")
    with Synthesizer.open(out, threads=1) as opened:
        yield opened


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_number_of_threads_does_not_change_a_sample(demo_voice: Path, precision: Precision) -> None:
    texts = ["No.", "It rains today.", held_out_sentences()[0], " ".join(held_out_sentences()[:2])]

    def speech(threads: int) -> list[np.ndarray]:
        with Synthesizer.open(demo_voice, threads=threads, precision=precision) as opened:
            return [opened.synthesize(text).samples for text in texts]

    alone = speech(1)
    for threads in (2, 3, 4, 7):
        for one, other in zip(alone, speech(threads), strict=True):
            assert np.array_equal(one, other)


def test_samples_equal_those_of_transformers_with_the_same_noise(
    exact_voice: Synthesizer, voice: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mms_engine.tts import synthesis

    tokenizer = VitsTokenizer.from_pretrained(VOICE, pad_token="<pad>")  # noqa: S106
    model = VitsModel.from_pretrained(VOICE).eval()
    tokens = tokenizer(TEXT, return_tensors="pt")
    ids = tokens["input_ids"][0].numpy()

    def noise(stream: int, *shape: int) -> torch.Tensor:
        return torch.from_numpy(synthesis._noise(5, stream, ids, shape)[None])  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "randn", lambda *shape, **_: noise(0, *shape[1:]))
    monkeypatch.setattr(torch, "randn_like", lambda like: noise(1, *like.shape[1:]))
    with torch.no_grad():
        expected = model(**tokens).waveform[0].numpy()
    found = exact_voice.synthesize(TEXT, seed=5).samples
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() <= 1e-4
    half = voice.synthesize(TEXT, seed=5).samples
    assert half.shape == expected.shape
    assert np.abs(half - expected).max() <= 0.01


@pytest.mark.parametrize("opened", ["voice", "int8_voice"])
def test_joined_chunks_equal_one_run_to_the_bit(
    opened: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesizer = request.getfixturevalue(opened)
    chunks = list(synthesizer.speak(LONG))
    assert len(chunks) > 4
    synthesis = synthesizer._models.main.synthesis
    monkeypatch.setattr(synthesis, "_shape", replace(synthesis._shape, margin=1 << 30))
    assert np.array_equal(joined(chunks), joined(synthesizer.speak(LONG)))


@pytest.mark.parametrize("opened", ["voice", "int8_voice"])
def test_speech_has_no_offset_clipping_or_long_silence(
    opened: str, request: pytest.FixtureRequest
) -> None:
    figures = sound_figures(readings(request.getfixturevalue(opened)))
    assert figures["largest_offset"] < 0.002
    assert 0.2 < figures["peak"] < 0.99
    assert figures["rms"] > 0.02
    assert figures["longest_silence_seconds"] <= 1.0


def test_sentences_and_pauses_have_no_offset(voice: Synthesizer) -> None:
    text = "The river was high. The bridge stood!\n\nWas the water cold?"
    speech = voice.synthesize(text, options=SpeechOptions(speed=1.5))
    assert speech.sample_rate == RATE
    assert len(speech.sentences) == 3
    assert abs(float(speech.samples.mean())) < 0.002
    assert float(np.abs(speech.samples).max()) < 0.99


def test_default_bundle_speaks(
    demo_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voice: Synthesizer
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MMS_BUNDLE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = ["speak", TEXT, "-o", "out.wav", "--threads", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "mms-export --model demo-voice" in result.stderr
    assert demo_bundle("demo-voice").is_relative_to(tmp_path)
    shutil.copytree(demo_voice, demo_bundle("demo-voice"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "demonstration voice" in result.stderr
    written = soundfile.read("out.wav", dtype="float32")[0]
    assert np.abs(written - voice.synthesize(TEXT).samples).max() <= 1 / 32768


def test_export_of_a_language_that_the_demo_lacks_is_an_error(tmp_path: Path) -> None:
    arguments = ["--model", "demo-voice", "--lang", "swh", "--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(mms_export.main, arguments)
    assert result.exit_code == 1
    assert "swh" in result.stderr
    assert not (tmp_path / "bundle").exists()


def test_licence_and_notice_are_in_the_manifest(voice: Synthesizer) -> None:
    source = voice.bundle.manifest.source
    assert source.name == "demo-voice"
    assert source.licence == "CC0-1.0"
    assert "synthetic teacher" in source.notice
    assert voice.voices == ("eng",)


def test_int8_sounds_like_fp32(voice: Synthesizer, int8_voice: Synthesizer) -> None:
    """The graphs of durations are the same; the decoder's samples are near."""
    text = held_out_sentences()[0]
    exact, coarse = (one.synthesize(text).samples for one in (voice, int8_voice))
    assert coarse.shape == exact.shape
    assert not np.array_equal(coarse, exact)
    assert spectral_distance(exact, coarse) < 4
    # The distance tells noise 10 dB below the speech from it.
    noise = np.random.default_rng(0).standard_normal(exact.size).astype(np.float32)
    assert spectral_distance(exact, exact + 0.3 * exact.std() * noise) > 8
