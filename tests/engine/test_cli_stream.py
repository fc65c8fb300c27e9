"""`mms stream`: what it takes, what it prints, how it ends."""

import builtins
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from mms_engine import Recognizer
from mms_engine.asr.streaming import Endpoint, Final, Partial, StreamOptions
from mms_engine.cli import main
from mms_engine.cli.stream.screen import Screen
from mms_engine.cli.stream.sound import Waiting
from mms_engine.errors import AudioError
from mms_engine.types import Transcript
from stream_sounds import RATE, hear, speech

MMS = [sys.executable, "-c", "from mms_engine.cli import main; main(prog_name='mms')"]
FIELDS = {
    "partial": "event text words stable_chars audio_seconds wall_seconds",
    "final": "event text language words duration confidence alternatives start audio_seconds "
    "wall_seconds",
    "endpoint": "event reason at audio_seconds wall_seconds",
}
"""As docs/streaming.md has them."""


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return speech("eng")[: 5 * RATE]


@pytest.fixture(scope="module")
def clip(sound: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.flac"
    soundfile.write(path, sound, RATE)
    return path


def stream(*arguments: object, content: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["stream", *map(str, arguments)], input=content)


def events(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_file_gives_the_events_of_the_engine(
    demo: Recognizer, demo_bundle: Path, clip: Path
) -> None:
    found = events(stream(clip, "--bundle", demo_bundle, "--lang", "eng", "--json"))
    samples, _ = soundfile.read(clip, dtype="float32")
    expected = hear(demo.stream("eng"), np.split(samples, range(1600, len(samples), 1600)))
    names = {Partial: "partial", Final: "final", Endpoint: "endpoint"}
    assert [event["event"] for event in found] == [names[type(event)] for event in expected]
    texts = [event["text"] for event in found if event["event"] == "final"]
    assert texts == [e.transcript.text for e in expected if isinstance(e, Final)]
    assert texts
    for event in found:
        assert set(event) == set(FIELDS[event["event"]].split())


@pytest.mark.parametrize(
    ("name", "dtype", "scale"), [("s16le", "<i2", 2**15 - 1), ("f32le", "<f4", 1)]
)
def test_samples_on_stdin(
    demo: Recognizer, demo_bundle: Path, sound: np.ndarray, name: str, dtype: str, scale: int
) -> None:
    content = (sound[::2] * scale).astype(dtype).tobytes()
    options = ["--sample-format", name, "--sample-rate", 8000]
    found = events(stream("-", "--bundle", demo_bundle, "--lang", "eng", *options, content=content))
    chosen = StreamOptions(sample_format=name, sample_rate=8000)
    expected = [e for e in hear(demo.stream("eng", chosen), [content]) if isinstance(e, Final)]
    texts = [event["text"] for event in found if event["event"] == "final"]
    assert texts == [event.transcript.text for event in expected]
    assert texts


def test_the_knobs_reach_the_stream(demo: Recognizer, demo_bundle: Path, clip: Path) -> None:
    knobs = ["--context", "window", "--left", 1, "--chunk", 0.5, "--right", 0.1, "--pause", 99]
    found = events(stream(clip, "--bundle", demo_bundle, "--lang", "eng", *knobs))
    partials = [event["audio_seconds"] for event in found if event["event"] == "partial"]
    assert np.diff(partials).min() == pytest.approx(0.5, abs=0.11)
    assert [event["reason"] for event in found if event["event"] == "endpoint"] == ["end"]


def test_realtime_takes_as_long_as_the_sound(demo_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "second.wav"
    soundfile.write(path, np.zeros(RATE, np.float32), RATE)
    began = time.monotonic()
    found = events(stream(path, "--bundle", demo_bundle, "--lang", "eng", "--realtime"))
    assert time.monotonic() - began >= 1.0
    assert [event["reason"] for event in found] == ["end"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chunk", "0"], "a chunk must be longer than 0"),
        (["--left", "500"], "a step may hear 120 s"),
        (["--pause", "0"], "positive numbers only"),
        (["--latency", "none"], "'none' is not one of"),
        (["--sample-rate", "1"], "1 is not in the range"),
        (["--nbest", "3"], "--nbest"),
    ],
)
def test_usage_errors_are_2(
    demo_bundle: Path, clip: Path, arguments: list[str], message: str
) -> None:
    result = stream(clip, "--bundle", demo_bundle, "--lang", "eng", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_language_is_needed_and_must_be_there(demo_bundle: Path, clip: Path) -> None:
    missing = stream(clip, "--bundle", demo_bundle)
    assert missing.exit_code == 2
    assert "--lang is needed; the bundle has eng, fra, ita, rus, spa" in missing.stderr
    unknown = stream(clip, "--bundle", demo_bundle, "--lang", "xyz")
    assert unknown.exit_code == 1
    assert "xyz" in unknown.stderr


def test_what_cannot_be_read_is_1_and_one_line(demo_bundle: Path, tmp_path: Path) -> None:
    result = stream(tmp_path / "none.wav", "--bundle", demo_bundle, "--lang", "eng")
    assert result.exit_code == 1
    assert "none.wav" in result.stderr.splitlines()[-1]


def test_without_sounddevice_the_microphone_says_what_to_install(
    demo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "sounddevice":
            raise ImportError("No module named 'sounddevice'")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    result = stream("mic", "--bundle", demo_bundle, "--lang", "eng")
    assert result.exit_code == 1
    assert "pip install 'mms-engine[mic]'" in result.stderr


def test_a_machine_too_slow_for_the_microphone_says_so_and_loses_nothing_before() -> None:
    waiting, taken = Waiting(3), []
    for number in range(5):
        waiting.put(bytes([number]))
    with pytest.raises(AudioError, match=r"fell 30 s behind the microphone: choose longer chunks"):
        for piece in waiting:
            taken.append(piece)
            waiting.put(b"after a gap")  # what follows a gap would be heard as if there were none
    assert taken == [b"\0", b"\1", b"\2"]


def test_a_terminal_shows_one_line_that_grows(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = Transcript("hello world", "eng", (), 1.0, 0.9)
    Screen()([Partial("hello wor", (), 5, 1.0, 0.0), Final(transcript, 0.0, 1.5, 0.0)])
    shown = capsys.readouterr().out
    assert shown == "\r\x1b[Khello\x1b[2m wor\x1b[0m\r\x1b[Khello world\n"


def test_events_are_printed_while_samples_come(demo_bundle: Path, sound: np.ndarray) -> None:
    words = [*MMS, "stream", "-", "--bundle", str(demo_bundle), "--lang", "eng"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((sound[: 3 * RATE] * 2**15).astype("<i2").tobytes())
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # while stdin is open
        assert first["event"] == "partial"
        process.stdin.close()
        last = process.stdout.read().splitlines()[-1]
        assert json.loads(last)["reason"] == "end"
        assert process.wait(20) == 0
