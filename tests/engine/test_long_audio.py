"""Hours of audio in the memory of minutes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine_sounds import RATE, sound

PROGRAM = """
import sys, threading
from mms_engine import Recognizer

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) // 1024

def watch():
    global peak
    while not done.wait(0.02):
        peak = max(peak, anonymous())

recognizer = Recognizer.open(sys.argv[1])
peak, done = 0, threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
transcript = recognizer.transcribe(sys.argv[2], "swh")
done.set()
watcher.join()
print(peak, transcript.duration, len(transcript.text), transcript.words[-1].end)
"""


def write(path: Path, seconds: int) -> Path:
    block = sound(20.0)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for number in range(seconds // 20):
            file.write(np.roll(block, 1000 * number))
    return path


def transcribe(bundle: Path, clip: Path) -> tuple[float, ...]:
    arguments = [sys.executable, "-c", PROGRAM, str(bundle), str(clip)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return tuple(float(value) for value in result.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_does_not_grow_with_the_length_of_the_audio(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    minutes = transcribe(tiny_bundle, write(tmp_path / "minutes.wav", 120))
    hour = transcribe(tiny_bundle, write(tmp_path / "hour.wav", 3600))
    # The samples of an hour alone, as float32, are 230 MB.
    assert hour[0] < minutes[0] + 80
    assert hour[0] < 400
    assert hour[1] == 3600.0
    assert hour[3] > 3595.0
    assert hour[2] == pytest.approx(30 * minutes[2], rel=0.1)
