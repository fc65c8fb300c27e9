"""`mms` in subprocesses: exit codes, signals, imports and start-up time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from engine_sounds import RATE, sound
from mms_engine.cli import main

MMS = [sys.executable, "-c", "from mms_engine.cli import main; main(prog_name='mms')"]
NOTICE = "a model for tests"


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = [*MMS, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.flac"
    soundfile.write(path, sound(3.0), RATE)
    return path


@pytest.fixture
def noticed(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with a notice."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    manifest = bundle / "manifest.json"
    document = json.loads(manifest.read_bytes())
    document["source"]["notice"] = NOTICE
    manifest.write_text(json.dumps(document))
    return bundle


def test_success_exits_0_with_the_notice_on_stderr(clip: Path, noticed: Path) -> None:
    result = run("transcribe", clip, "--bundle", noticed, "--lang", "eng")
    assert result.returncode == 0
    assert result.stderr == NOTICE + "\n"
    assert len(result.stdout) > 2


def test_error_exits_1_with_one_line(clip: Path, tmp_path: Path) -> None:
    result = run("transcribe", clip, "--bundle", tmp_path, "--lang", "eng")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1


def test_usage_error_exits_2(clip: Path) -> None:
    for arguments in (["transcribe", clip, "--format", "pdf"], ["no-such-command"]):
        result = run(*arguments)
        assert result.returncode == 2
        assert "Usage: mms" in result.stderr
        assert "Traceback" not in result.stderr


def test_ctrl_c_exits_130_without_a_traceback(noticed: Path) -> None:
    words = [*MMS, "transcribe", "-", "--bundle", str(noticed), "--lang", "eng"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == NOTICE + "\n"  # from here on it waits for its input
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - began < 2
        assert process.stderr.read() == ""


def test_closed_pipe_has_no_traceback(clip: Path, tiny_bundle: Path) -> None:
    words = [*MMS, "transcribe", *[str(clip)] * 3, "--bundle", str(tiny_bundle), "--lang", "eng"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def run_and_list(code: str, modules: set[str]) -> subprocess.CompletedProcess[str]:
    """Run Python code that then prints which of the modules it imported to stderr."""
    code = (
        "import sys, atexit\n"
        f"seen = lambda: sys.stderr.write(' '.join(sorted({modules!r} & set(sys.modules))))\n"
        f"atexit.register(seen)\n{code}"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([name, "--help"] for name in sorted(main.commands))],
)
def test_help_imports_nothing_heavy_and_is_instant(arguments: list[str]) -> None:
    heavy = {"numpy", "onnxruntime", "torch", "av", "soundfile", "soxr", "jiwer", "tqdm"}
    heavy |= {"safetensors", "msgspec", "mms_kernels", "fastapi", "uvicorn", "babel", "uroman"}
    times = []
    for _ in range(3):
        before = os.times()
        result = run_and_list(f"from mms_engine.cli import main; main({arguments!r})", heavy)
        after = os.times()  # the processor's time, which other processes do not lengthen
        used = (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )
        times.append(used)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout
        assert "None]" not in result.stdout
    assert min(times) < 0.3


def test_wav_imports_only_the_libraries_it_needs(tmp_path: Path, tiny_bundle: Path) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, sound(1.0), RATE)
    arguments = ["transcribe", str(clip), "--bundle", str(tiny_bundle), "--lang", "eng"]
    code = f"from mms_engine.cli import main; main({arguments!r})"
    result = run_and_list(code, {"torch", "soundfile", "soxr", "jiwer", "tqdm"})
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "unneeded"),
    [
        ("import mms_engine", {"numpy", "onnxruntime"}),
        (
            "from mms_engine import Recognizer, StreamOptions, StreamPool, read_audio",
            {"onnxruntime"},
        ),
    ],
)
def test_import_of_public_names_loads_no_runtime(code: str, unneeded: set[str]) -> None:
    result = run_and_list(code, unneeded)
    assert (result.returncode, result.stderr) == (0, "")


def test_cold_transcription_is_fast(clip: Path, tiny_bundle: Path) -> None:
    times = []
    for _ in range(3):
        began = time.monotonic()
        assert run("transcribe", clip, "--bundle", tiny_bundle, "--lang", "eng").returncode == 0
        times.append(time.monotonic() - began)
    assert min(times) < 1.2


def run_without(module: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as if a module were not installed."""
    code = f"import sys; sys.modules[{module!r}] = None\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("module", "option", "message"),
    [
        ("onnxruntime", None, "onnxruntime is not installed: pip install 'mms-engine[cpu]'"),
        (
            "jiwer",
            "--reference",
            "scoring needs the package jiwer: pip install 'mms-engine[score]'",
        ),
    ],
)
def test_missing_library_is_one_line_that_says_what_to_install(
    clip: Path, tiny_bundle: Path, tmp_path: Path, module: str, option: str | None, message: str
) -> None:
    table = tmp_path / "list.tsv"
    table.write_text(f"file\tlang\ttext\n{clip}\teng\ttext\n")
    source = [str(clip), "--lang", "eng"] if option is None else [option, str(table)]
    arguments = ["transcribe", *source, "--bundle", str(tiny_bundle)]
    result = run_without(module, f"from mms_engine.cli import main; main({arguments!r})")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_terminal_shows_a_bar_that_gives_way_to_output(clip: Path, tiny_bundle: Path) -> None:
    import fcntl
    import os
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    words = [*MMS, "transcribe", str(clip), "--bundle", str(tiny_bundle), "--lang", "eng"]
    result = subprocess.run(words, stdout=follower, stderr=follower, timeout=60)
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert result.returncode == 0
    assert "0 s of audio in 00:00" in shown
    text = run(*words[3:]).stdout.rstrip("\n")
    assert f"  \r{text}\r\n" in shown  # on a line of its own, the bar wiped away
