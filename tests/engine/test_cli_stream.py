"""`mms stream`: sources, output, usage errors, and its end by Ctrl-C."""

import builtins
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from mms_engine import Recognizer
from mms_engine.asr.streaming import Final, Partial, StreamOptions
from mms_engine.cli import main
from mms_engine.cli.stream.screen import Screen
from mms_engine.cli.stream.sound import AudioQueue
from mms_engine.errors import AudioError
from mms_engine.types import Transcript
from sounds import encode, wav
from stream_sounds import RATE, run, speech

COMMAND = "from mms_engine.cli import main; main(prog_name='mms')"
FIELDS = {
    "partial": "type text words stable_chars audio_seconds wall_seconds",
    "final": "type text language words duration confidence alternatives start audio_seconds "
    "wall_seconds",
    "endpoint": "type reason at audio_seconds wall_seconds",
}
"""Fields of events, as in docs/streaming.md."""
MICROPHONE = """
import threading, time, soundfile
class PortAudioError(Exception): pass
class RawInputStream:
    '''Microphone that records a file and then waits.'''
    def __init__(self, samplerate, channels, dtype, blocksize, callback):
        samples, _ = soundfile.read({path!r}, dtype=dtype)
        self.pieces = [samples[i : i + blocksize] for i in range(0, len(samples), blocksize)]
        self.callback = callback
    def __enter__(self):
        threading.Thread(target=lambda: [self.callback(p) for p in self.pieces]).start()
    def __exit__(self, *error): pass
    def close(self): pass
"""


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return speech("eng")[: 5 * RATE]


@pytest.fixture(scope="module")
def clip(sound: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.flac"
    soundfile.write(path, sound, RATE)
    return path


@pytest.fixture
def stream(demo_bundle: Path):
    def invoke(*arguments: object, content: bytes | None = None) -> Result:
        words = ["stream", *map(str, arguments), "--bundle", str(demo_bundle)]
        return CliRunner().invoke(main, words, input=content)

    return invoke


def events(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def final_texts(found: list[dict]) -> list[str]:
    return [event["text"] for event in found if event["type"] == "final"]


def test_file_prints_the_events_of_the_engine(stream, demo: Recognizer, clip: Path) -> None:
    found = events(stream(clip, "--lang", "eng", "--json"))
    samples, _ = soundfile.read(clip, dtype="float32")
    expected = run(demo.stream("eng"), np.split(samples, range(1600, len(samples), 1600)))
    assert [event["type"] for event in found] == [event.type for event in expected]
    assert final_texts(found) == [e.transcript.text for e in expected if e.type == "final"] != []
    for event in found:
        assert set(event) == set(FIELDS[event["type"]].split())
        assert next(iter(event)) == "type"


@pytest.mark.parametrize(
    ("name", "dtype", "scale"), [("s16le", "<i2", 2**15 - 1), ("f32le", "<f4", 1)]
)
def test_samples_on_stdin(
    stream, demo: Recognizer, sound: np.ndarray, name: str, dtype: str, scale: int
) -> None:
    content = (sound[::2] * scale).astype(dtype).tobytes()
    options = ["--sample-format", name, "--sample-rate", 8000]
    found = events(stream("-", "--lang", "eng", *options, content=content))
    chosen = StreamOptions(sample_format=name, sample_rate=8000)
    expected = [e for e in run(demo.stream("eng", chosen), [content]) if e.type == "final"]
    assert final_texts(found) == [event.transcript.text for event in expected] != []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.w64", "a.aiff"])
def test_container_on_stdin_is_decoded(
    stream, sound: np.ndarray, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    soundfile.write(path, sound, RATE)
    piped = events(stream("-", "--lang", "eng", content=path.read_bytes()))
    expected = final_texts(events(stream(path, "--lang", "eng")))
    if name == "a.mp3":  # without its size, the padding at its end is decoded too
        piped, expected = piped[:-2], expected[:-1]
    assert final_texts(piped) == expected != []


def test_container_that_needs_seeking_is_refused_in_one_line(
    stream, sound: np.ndarray, tmp_path: Path
) -> None:
    path = encode(tmp_path / "a.m4a", "aac", sound, RATE)
    result = stream("-", "--lang", "eng", content=path.read_bytes())
    assert (result.exit_code, result.stdout) == (1, "")
    notice, error = result.stderr.splitlines()
    assert "demonstration model" in notice
    assert "standard input holds a container that cannot be read from a pipe" in error


def test_container_on_stdin_is_transcribed_as_it_comes(
    demo_bundle: Path, sound: np.ndarray
) -> None:
    pipe = subprocess.PIPE
    options = ["-", "--bundle", str(demo_bundle), "--lang", "eng"]
    words = [sys.executable, "-c", COMMAND, "stream", *options]
    content = wav((sound * 2**15).astype("<i2").tobytes(), claims=0xFFFFFFFF)
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content[: 3 * 2 * RATE])
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # while stdin is open
        assert first["type"] == "partial"
        process.stdin.write(content[3 * 2 * RATE :])
        process.stdin.close()
        assert process.wait(60) == 0


def test_context_options_reach_the_stream(stream, clip: Path) -> None:
    options = ["--context", "window", "--left", 1, "--chunk", 0.5, "--right", 0.1, "--pause", 99]
    found = events(stream(clip, "--lang", "eng", *options))
    partials = [event["audio_seconds"] for event in found if event["type"] == "partial"]
    assert np.diff(partials).min() == pytest.approx(0.5, abs=0.11)
    assert [event["reason"] for event in found if event["type"] == "endpoint"] == ["end"]


def test_realtime_paces_a_file(stream, tmp_path: Path) -> None:
    path = tmp_path / "second.wav"
    soundfile.write(path, np.zeros(RATE, np.float32), RATE)
    began = time.monotonic()
    found = events(stream(path, "--lang", "eng", "--realtime"))
    assert time.monotonic() - began >= 1.0
    assert [event["reason"] for event in found] == ["end"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--lang", "eng", "--chunk", "0"], 2, "chunk must be longer than 0 s"),
        (["--lang", "eng", "--left", "500"], 2, "together exceed 120 s"),
        (["--lang", "eng", "--pause", "0"], 2, "must be positive"),
        (["--lang", "eng", "--latency", "none"], 2, "'none' is not one of"),
        (["--lang", "eng", "--sample-rate", "1"], 2, "1 is not in the range"),
        (["--lang", "eng", "--nbest", "3"], 2, "--nbest"),
        ([], 2, "missing --lang; the bundle has eng, fra, ita, rus, spa"),
        (["--lang", "xyz"], 1, "xyz"),
    ],
)
def test_wrong_options_are_refused(
    stream, clip: Path, arguments: list[str], status: int, message: str
) -> None:
    result = stream(clip, *arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert result.stdout == ""


def test_unreadable_source_is_one_line(stream, tmp_path: Path) -> None:
    result = stream(tmp_path / "none.wav", "--lang", "eng")
    assert result.exit_code == 1
    assert "none.wav" in result.stderr.splitlines()[-1]


def test_missing_sounddevice_is_named(stream, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "sounddevice":
            raise ImportError("No module named 'sounddevice'")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    result = stream("mic", "--lang", "eng")
    assert result.exit_code == 1
    assert "pip install 'mms-engine[mic]'" in result.stderr


def test_microphone_overflow_is_an_error_after_the_audio_before_it() -> None:
    queue, taken = AudioQueue(), []
    for number in range(5):
        queue.put_nowait(bytes([number]), 3)
    with pytest.raises(AudioError, match=r"fell 30 s behind the microphone: choose longer chunks"):
        for piece in queue:
            taken.append(piece)
            queue.put_nowait(b"after a gap", 3)  # would join the words on both sides of the gap
    assert taken == [b"\0", b"\1", b"\2"]


def test_terminal_shows_a_growing_line(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = Transcript("hello world", "eng", (), 1.0, 0.9)
    Screen()([Partial("hello wor", (), 5, 1.0, 0.0), Final(transcript, 0.0, 1.5, 0.0)])
    shown = capsys.readouterr().out
    assert shown == "\r\x1b[Khello\x1b[2m wor\x1b[0m\r\x1b[Khello world\n"


@contextlib.contextmanager
def live(source: str, bundle: Path, sound: np.ndarray, folder: Path, before: str = ""):
    """Run `mms stream` on audio after which the source stays open; yield at its first event."""
    soundfile.write(folder / "clip.wav", sound, RATE)
    (folder / "sounddevice.py").write_text(MICROPHONE.format(path=str(folder / "clip.wav")))
    options = [source, "--bundle", str(bundle), "--lang", "eng", "--pause", "60"]
    words = [sys.executable, "-c", before + COMMAND, "stream", *options]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        if source == "-":
            process.stdin.write((sound * 2**15).astype("<i2").tobytes())
            process.stdin.flush()
        assert json.loads(process.stdout.readline())["type"] == "partial"  # while it is open
        assert b"demonstration model" in process.stderr.readline()
        try:
            yield process
        finally:
            process.kill()


def test_end_of_stdin_ends_the_stream(demo_bundle: Path, sound: np.ndarray, tmp_path: Path) -> None:
    with live("-", demo_bundle, sound[: 3 * RATE], tmp_path) as process:
        output, _ = process.communicate(timeout=60)
        assert json.loads(output.splitlines()[-1])["reason"] == "end"
        assert process.returncode == 0


@pytest.mark.parametrize("source", ["-", "mic"])
def test_ctrl_c_prints_the_last_final_text_and_exits_with_130(
    demo_bundle: Path, sound: np.ndarray, tmp_path: Path, source: str
) -> None:
    with live(source, demo_bundle, sound[: 3 * RATE], tmp_path) as process:
        process.send_signal(signal.SIGINT)
        found = [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 130
        assert [event["type"] for event in found[-2:]] == ["final", "endpoint"]
        assert len(found[-2]["text"]) > 10
        assert found[-1]["reason"] == "end"
        assert process.stderr.read() == b""
    assert not list(tmp_path.rglob("*.partial"))


def test_second_ctrl_c_ends_the_command_at_once(
    demo_bundle: Path, sound: np.ndarray, tmp_path: Path
) -> None:
    slow = (
        "import sys, time; from mms_engine.asr.streaming import Stream\n"
        "Stream.finish = lambda _: (sys.stderr.write('.'), sys.stderr.flush(), time.sleep(600))\n"
    )
    with live("-", demo_bundle, sound[: 3 * RATE], tmp_path, before=slow) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr.read(1) == b"."
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
