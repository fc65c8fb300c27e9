"""Unmodified LiveKit and Pipecat against a real server, in an environment of their own."""

import functools
import json
import os
import subprocess
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import openai
import pytest

from engine_demo import Clip
from mms_engine.asr.streaming import EndpointOptions
from realtime_client import TURNS, of_library, samples_of
from server_process import ServerProcess, running

SCRIPTS = Path(__file__).parent / "clients"
VARIABLE = "MMS_CLIENTS_PYTHON"
RATE = 24_000
LIVEKIT_TURNS = replace(TURNS, endpoints=EndpointOptions(pause_seconds=0.35, max_seconds=60))
"""The pause that LiveKit asks for."""


@pytest.fixture(scope="session")
def python() -> str:
    """Interpreter of the environment of `make clients`."""
    found = Path(os.environ.get(VARIABLE, SCRIPTS.parents[2] / ".venv-clients/bin/python"))
    if not found.is_file():
        missing = f"no third-party clients at {found}: make clients, or set {VARIABLE}"
        if os.environ.get("MMS_REQUIRE_CLIENTS"):
            pytest.fail(missing)
        pytest.skip(missing)
    return str(found)


def run_script(python: str, server: ServerProcess, script: str, *arguments: object) -> list[Any]:
    """Return the JSON lines that a script prints."""
    command = [python, str(SCRIPTS / script), server.url, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def run(python: str, live: ServerProcess) -> Callable[..., list[Any]]:
    """Function that runs a script against the server of recognition."""
    return functools.partial(run_script, python, live)


@pytest.fixture
def wav(tmp_path: Path):
    """Function that writes a clip as PCM WAV at 24 kHz, which no client resamples."""

    def write(clip: Clip) -> Path:
        path = tmp_path / f"{clip.path.stem}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples_of(clip, RATE, 0.0).tobytes())
        return path

    return write


def of(clips: list[Clip], language: str) -> list[Clip]:
    return [clip for clip in clips if clip.language == language]


def pairs(wav, *clips: Clip) -> list[object]:
    return [part for clip in clips for part in (clip.language, wav(clip))]


def test_livekit_turns(run, wav, live, clips, recognizer) -> None:
    """Clips in two languages: LiveKit updates the session between them."""
    chosen = [of(clips, "eng")[0], of(clips, "spa")[0]]
    before = live.log.count("SOCKET /v1/realtime 101")
    events = run("livekit_realtime.py", "gpt-4o-mini-transcribe", *pairs(wav, *chosen))
    for clip in chosen:
        own = [one for one in events if one["clip"] == f"{clip.path.stem}.wav"]
        kinds = [one["type"] for one in own]
        assert kinds[0] == "start_of_speech"
        assert kinds[-3:] == ["end_of_speech", "final_transcript", "recognition_usage"]
        assert 1 < own[-1]["seconds"] < 10
        wanted = of_library(
            recognizer, samples_of(clip, RATE).tobytes(), clip.language, LIVEKIT_TURNS
        )
        # The second is heard behind the silence that the first left, which shifts its frames.
        assert jiwer.cer(wanted[0], own[-2]["text"]) <= (0 if clip is chosen[0] else 0.2)
    live.wait_log("SOCKET /v1/realtime")
    assert live.log.count("SOCKET /v1/realtime 101") <= before + 1


def test_livekit_identifies_the_language(run, wav, clips) -> None:
    arguments = ["auto", wav(of(clips, "eng")[0])]
    events = run("livekit_realtime.py", "gpt-4o-mini-transcribe", *arguments)
    found = next(one for one in events if one["type"] == "final_transcript")
    assert found["text"]
    assert len(found["language"]) in (2, 3)


def test_livekit_commits_by_its_own_detector(run, wav, clips) -> None:
    """A model that has no turn detection at OpenAI."""
    events = run("livekit_realtime.py", "gpt-live-transcribe", *pairs(wav, of(clips, "fra")[0]))
    kinds = [one["type"] for one in events]
    assert {"start_of_speech", "end_of_speech"} <= set(kinds)
    assert next(one["text"] for one in events if one["type"] == "final_transcript")


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe"])
def test_livekit_over_rest(run, wav, clips, recognizer, model) -> None:
    clip = of(clips, "ita")[0]
    path = wav(clip)
    [found] = run("livekit_recognize.py", model, "it", path)
    assert found["text"] == recognizer.transcribe(path, "ita").text


def test_pipecat_over_rest(run, wav, clips) -> None:
    clip = of(clips, "ita")[0]
    frames = run("pipecat_transcribe.py", "rest", "it", wav(clip))
    assert [one["type"] for one in frames] == ["TranscriptionFrame"]
    assert frames[0]["text"]


def test_pipecat_commits(run, wav, clips, recognizer) -> None:
    clip = of(clips, "ita")[0]
    frames = run("pipecat_transcribe.py", "manual", "it", wav(clip))
    content = samples_of(clip, RATE).tobytes()
    with recognizer.stream("ita", replace(TURNS, endpoints=None)) as stream:
        wanted = [*stream.feed(content), *stream.flush()][-2].transcript.text
    _check_frames(frames, wanted)


def test_pipecat_turns(run, wav, clips, recognizer) -> None:
    clip = of(clips, "ita")[0]
    frames = run("pipecat_transcribe.py", "server_vad", "it", wav(clip))
    kinds = [one["type"] for one in frames]
    assert kinds[0] == "ProposedUserStartedSpeakingFrame"
    assert kinds[-2] == "ProposedUserStoppedSpeakingFrame"
    _check_frames(frames, of_library(recognizer, samples_of(clip, RATE).tobytes(), "ita")[0])


def _check_frames(frames: list[dict[str, Any]], wanted: str) -> None:
    """Check the final text, of which the interim frames are the parts."""
    assert (frames[-1]["type"], frames[-1]["text"]) == ("TranscriptionFrame", wanted)
    parts = [one["text"] for one in frames if one["type"] == "InterimTranscriptionFrame"]
    assert "".join(parts) == wanted
    assert "ErrorFrame" not in [one["type"] for one in frames]


@pytest.fixture(scope="module")
def talking(demo_voice: Path) -> Iterator[ServerProcess]:
    with running("--bundle", demo_voice) as started:
        yield started


@pytest.mark.parametrize("client", ["livekit", "pipecat"])
@pytest.mark.parametrize("model", ["gpt-4o-mini-tts", "tts-1"])
def test_speech(python, talking, tmp_path, client, model) -> None:
    """LiveKit asks for events with MP3, or for a stream of it; Pipecat for PCM at 24 kHz."""
    text = "Good morning. Please enter your password."
    path = tmp_path / "speech.wav"
    arguments = (client, model, "alloy", text, path)
    [found] = run_script(python, talking, "speak.py", *arguments)
    assert found["rate"] == RATE
    with openai.OpenAI(base_url=f"{talking.url}/v1", api_key="none") as opened:
        wanted = opened.audio.speech.create(
            input=text, model=model, voice="alloy", response_format="pcm"
        ).content
    with wave.open(str(path)) as file:
        content = file.readframes(file.getnframes())
    if client == "pipecat":
        assert content == wanted
    else:
        spoken, expected = (np.frombuffer(one, "<i2").astype(float) for one in (content, wanted))
        assert len(spoken) == pytest.approx(len(expected), abs=0.1 * RATE)
        assert _likeness(spoken, expected) > 0.9


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two sounds, the second moved in time to where it is greatest."""
    size = len(one) + len(other)
    spectrum = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    return np.fft.irfft(spectrum).max() / np.linalg.norm(one) / np.linalg.norm(other)
