"""Command `mms speak`, and the audio files it writes."""

import io
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result

from mms_engine import Synthesizer, read_audio
from mms_engine.audio.stretch import TimeStretch
from mms_engine.audio.write import AudioWriter
from mms_engine.cli import main

TEXT = "The quick brown fox. It sleeps."


@pytest.fixture
def run(tmp_path: Path, voice_bundle: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run `mms speak` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMS_BUNDLE", str(voice_bundle))

    def invoke(*arguments: str, **options: object) -> Result:
        given = ["speak", *arguments, "--threads", "1"]
        return CliRunner().invoke(main, given, **options)  # type: ignore[arg-type]

    return invoke


def decoded(path: Path) -> np.ndarray:
    return read_audio(path).samples


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aac"])
def test_audio_file_holds_the_speech(run, synthesizer: Synthesizer, suffix: str) -> None:  # type: ignore[no-untyped-def]
    result = run(TEXT, "--lang", "English", "-o", f"new/out.{suffix}")
    assert result.exit_code == 0, result.output
    expected = synthesizer.synthesize(TEXT, "eng").samples
    found = decoded(Path(f"new/out.{suffix}"))
    if suffix in ("wav", "flac"):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1 / 32768
    else:
        assert abs(found.size - expected.size) <= 3000
    assert not list(Path("new").glob("*.partial"))


def test_standard_output_and_lines_of_standard_input(voice_bundle: Path, tmp_path: Path) -> None:
    program = "from mms_engine.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "speak", "-", "--lang", "eng", "-o", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"MMS_BUNDLE": str(voice_bundle), "PATH": "/usr/bin", "HOME": str(tmp_path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"the fox\n")
    process.stdin.flush()
    begun = process.stdout.read(200)  # before the text has ended
    out, errors = process.communicate("it sleeps 你\n".encode())
    assert process.returncode == 0, errors
    assert "'你' (U+4F60) at character 18" in errors.decode()
    with av.open(io.BytesIO(begun + out)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    assert np.concatenate(frames, axis=1).size > 1000


def test_reader_that_leaves_ends_the_command_in_silence(voice_bundle: Path) -> None:
    command = [sys.executable, "-c", "from mms_engine.cli import main; main()", "speak"]
    command += ["--bundle", str(voice_bundle), "--lang", "eng", "the fox sleeps. " * 400, "-o", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(100)
    process.stdout.close()
    assert process.stderr is not None
    assert process.wait(60) == 141
    assert process.stderr.read() == b""


def test_timings_and_file(run, synthesizer: Synthesizer) -> None:  # type: ignore[no-untyped-def]
    Path("in.txt").write_text("\ufeff" + TEXT, encoding="utf-8")
    assert (
        run("--file", "in.txt", "--lang", "eng", "-o", "a.wav", "--timings", "json").exit_code == 0
    )
    assert (
        run("--file", "in.txt", "--lang", "eng", "-o", "b.wav", "--timings", "srt").exit_code == 0
    )
    document = json.loads(Path("a.json").read_text())
    speech = synthesizer.synthesize(TEXT, "eng")
    words = [word for one in document["sentences"] for word in one["words"]]
    assert [word["text"] for word in words] == TEXT.split()
    assert words[-1]["end"] == pytest.approx(speech.words[-1].end)
    assert document["seconds"] == pytest.approx(speech.seconds)
    srt = Path("b.srt").read_text()
    assert srt.startswith("1\n00:00:00,")
    assert "fox." in srt


def test_options_change_the_speech(run) -> None:  # type: ignore[no-untyped-def]
    run(TEXT, "--lang", "eng", "-o", "one.wav")
    run(TEXT, "--lang", "eng", "-o", "two.wav", "--speed", "2", "--seed", "4", "--pause-scale", "0")
    assert decoded(Path("two.wav")).size < 0.6 * decoded(Path("one.wav")).size


def test_numbers_are_read_in_a_language_by_its_name(run) -> None:  # type: ignore[no-untyped-def]
    for name in ("sw", "Swahili", "swh"):
        words = ("I have 7", "--lang", "eng", "-o", f"{name}.wav", "--numbers-language", name)
        assert run(*words).exit_code == 0
    expected = run("I have saba", "--lang", "eng", "-o", "words.wav")
    assert expected.exit_code == 0
    for name in ("sw", "Swahili", "swh"):
        assert Path(f"{name}.wav").stat().st_size == Path("words.wav").stat().st_size


def test_each_lost_character_is_named_once(run) -> None:  # type: ignore[no-untyped-def]
    result = run("Fox你. Fox你. Fox你好. Fox你.", "--lang", "eng", "-o", "out.wav")
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert len(warnings) == 3
    assert "'你'" in warnings[0]
    assert warnings[2] == "Warning: 5 characters were not spoken in all"


def test_voices_are_listed(run) -> None:  # type: ignore[no-untyped-def]
    result = run("--list")
    assert result.stdout.splitlines()[0] == "eng  English"
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lang", "eng", "-o", "out.wav"], "give a TEXT"),
        (["hi", "--file", "in.txt", "-o", "out.wav"], "only one of them"),
        (["hi", "--lang", "eng"], "choose a file with --output, or --play"),
        (["hi", "--lang", "eng", "-o", "out.xyz"], "cannot tell the format"),
        (["hi", "-o", "out.wav"], "name one of eng, kor, tat"),
        (["hi", "--lang", "eng", "-o", "-", "--timings", "srt"], "--timings needs a file"),
        (["--file", "in.txt", "--lang", "eng", "-o", "in.txt", "--format", "wav"], "is the input"),
        (["--file", "latin.txt", "--lang", "eng", "-o", "out.wav"], "latin.txt, line 2: not UTF-8"),
        (["你好", "--lang", "eng", "-o", "out.wav"], "nothing to speak"),
        (["hi", "--lang", "eng", "-o", "out.wav", "--speed", "9"], "0.25<=x<=4"),
        (["½", "--lang", "eng", "-o", "out.wav", "--numbers", "error"], "cannot read '½'"),
        (["hi", "--lang", "swh", "-o", "out.wav"], "has 3 voices, eng, kor, tat: choose another"),
        (
            ["7", "--lang", "eng", "-o", "out.wav", "--numbers-language", "Klingon"],
            "the language to read numbers in is not known: no language 'Klingon'",
        ),
    ],
)
def test_bad_arguments_are_one_line_errors(run, arguments: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    Path("in.txt").write_text("hi")
    Path("latin.txt").write_bytes(b"hi.\n\xe9t\xe9")
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("out.wav").exists()
    assert Path("in.txt").read_text() == "hi"


def test_failure_keeps_the_former_file(run) -> None:  # type: ignore[no-untyped-def]
    Path("out.wav").write_bytes(b"former")
    result = run("Fox. It ½.", "--lang", "eng", "-o", "out.wav", "--numbers", "error")
    assert result.exit_code == 1
    assert Path("out.wav").read_bytes() == b"former"


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "aac"])
def test_blocks_of_any_size_give_one_file(rate: int, name: str) -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(50_000)).astype(np.float32)
    files = []
    for size in (50_000, 333):
        buffer = io.BytesIO()
        with AudioWriter(buffer, rate, name) as writer:  # type: ignore[arg-type]
            for start in range(0, samples.size, size):
                writer.write(samples[start : start + size])
        with av.open(io.BytesIO(buffer.getvalue())) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        files.append(np.concatenate([frame.reshape(-1) for frame in frames]))
    assert np.array_equal(*files)


@pytest.mark.parametrize("tempo", [1.01, 1.6, 3.3])
def test_stretched_audio_has_its_duration_in_blocks_of_any_size(tempo: float) -> None:
    time = np.arange(48_000) / 16_000
    samples = (0.5 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)
    found = []
    for size in (48_000, 1024, 77):
        stretch = TimeStretch(tempo, 16_000)
        parts = [stretch.push(samples[i : i + size]) for i in range(0, samples.size, size)]
        found.append(np.concatenate([*parts, stretch.finish()]))
    assert all(one.size == round(samples.size / tempo) for one in found)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    spectrum = np.abs(np.fft.rfft(found[0] * np.hanning(found[0].size)))
    assert np.argmax(spectrum) * 16_000 / found[0].size == pytest.approx(220, abs=3)
