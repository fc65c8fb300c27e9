"""Programs under the conditions of shells: closed, full and broken streams, encodings, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import soundfile

from engine_sounds import RATE, sound
from lm_models import arpa, estimate, random_text
from mms_bench.cli import main as mms_bench
from mms_engine.cli import main as mms
from mms_export.cli import main as mms_export

MMS = "from mms_engine.cli import main; main(prog_name='mms')"
EXPORT = "from mms_export.cli import main; main(prog_name='mms-export')"
BENCH = "from mms_bench.cli import main; main(prog_name='mms-bench')"


@dataclass(frozen=True)
class Command:
    """A command line that succeeds in an ordinary shell."""

    program: str
    line: str
    prints: bool = True
    """Whether it writes to standard output."""


COMMANDS = {
    "help": Command(MMS, "--help"),
    "languages": Command(MMS, "languages"),
    "doctor": Command(MMS, "doctor --json"),
    "transcribe": Command(MMS, "transcribe 1.wav 2.wav --lang eng --json"),
    "transcribe to a file": Command(MMS, "transcribe 1.wav 2.wav --lang eng -o out.txt", False),
    "stream": Command(MMS, "stream 1.wav --lang eng"),
    "lm convert": Command(MMS, "lm convert a.arpa a.lm", False),
    "export": Command(EXPORT, "--model MODEL --out new --precision fp32 --dry-run"),
    "bench": Command(BENCH, "machine"),
}
NO_TEMPORARY = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nonexistent']; "
NO_HOME = (
    "import os, pwd\nfor name in ('HOME', 'XDG_CACHE_HOME'): os.environ.pop(name, None)\n"
    "def nobody(_): raise KeyError\npwd.getpwuid = nobody\n"
)
OK, FAILED, BROKEN = 0, 1, 141


@dataclass(frozen=True)
class Condition:
    """A condition of the shell, and the exit code of commands that print."""

    code: int = OK
    environment: tuple[str, ...] = ()
    closed: int | None = None
    output: str = "pipe"
    messages: str = "pipe"
    before: str = ""
    """Code to run first."""


CONDITIONS = {
    "latin-1": Condition(environment=("PYTHONIOENCODING=latin-1",)),
    "no locale": Condition(environment=("LC_ALL=C", "PYTHONCOERCECLOCALE=0", "PYTHONUTF8=0")),
    "closed stdin": Condition(closed=0),
    "closed stdout": Condition(FAILED, closed=1),
    "closed stderr": Condition(closed=2),
    "full stdout": Condition(FAILED, output="full"),
    "full stderr": Condition(messages="full"),
    "broken stdout": Condition(BROKEN, output="broken"),
    "broken stderr": Condition(messages="broken"),
    "unbuffered, full": Condition(FAILED, output="full", environment=("PYTHONUNBUFFERED=1",)),
    "no temporary folder": Condition(before=NO_TEMPORARY),
    "no home": Condition(before=NO_HOME),
    "read-only cache": Condition(environment=("XDG_CACHE_HOME=/proc/nowhere",)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shell")
    for number in (1, 2, 3):
        soundfile.write(folder / f"{number}.wav", sound(1.0, number), RATE)
    text = random_text(["a", "b", "c"], 30, 1)
    (folder / "a.arpa").write_text(arpa(estimate(text, 3)))
    return folder


def stream(kind: str) -> int:
    """Return a descriptor to write to: a full device, or a pipe that nobody reads."""
    if kind == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if kind == "broken":
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    return subprocess.PIPE


def run(
    command: Command, folder: Path, bundle: Path, condition: Condition, model: str = ""
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "MMS_BUNDLE": str(bundle), "PYTHONUNBUFFERED": ""}
    environment |= dict(pair.split("=", 1) for pair in condition.environment)
    words = command.line.replace("MODEL", model).split()
    out, messages = stream(condition.output), stream(condition.messages)
    try:
        return subprocess.run(
            [sys.executable, "-c", condition.before + command.program, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=messages,
            preexec_fn=None if condition.closed is None else lambda: os.close(condition.closed),
            timeout=120,
            check=False,
        )
    finally:
        for number in (out, messages):
            if number >= 0:
                os.close(number)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", COMMANDS)
def test_shell_conditions(
    name: str, condition: str, folder: Path, tiny_bundle: Path, tiny_checkpoint: Path
) -> None:
    command, given = COMMANDS[name], CONDITIONS[condition]
    for output in ("out.txt", "a.lm"):
        (folder / output).unlink(missing_ok=True)
    result = run(command, folder, tiny_bundle, given, str(tiny_checkpoint))
    messages = (result.stderr or b"").decode()
    assert "Traceback" not in messages
    assert "Exception ignored" not in messages
    assert result.returncode == (given.code if command.prints else OK), messages
    if result.returncode == FAILED:
        (error,) = [line for line in messages.splitlines() if line.startswith("Error: ")]
        assert error.startswith("Error: cannot write standard output: ")
    if result.returncode == BROKEN:
        assert "Error" not in messages
    if name == "transcribe to a file":
        assert (folder / "out.txt").read_text().count("\n") == 2
    assert not list(folder.rglob("*.partial"))
    assert not (folder / "~").exists()


def test_text_that_the_encoding_lacks_is_escaped(folder: Path, tiny_bundle: Path) -> None:
    command = Command(MMS, "languages --json")
    plain = run(command, folder, tiny_bundle, Condition())
    latin = run(command, folder, tiny_bundle, CONDITIONS["latin-1"])
    assert latin.stdout != plain.stdout
    assert json.loads(latin.stdout.decode("latin-1")) == json.loads(plain.stdout)


ODD = os.fsdecode(b"caf\xe9.wav")


@pytest.fixture
def odd(folder: Path) -> Iterator[Path]:
    """A recording whose name is not UTF-8."""
    path = folder / ODD
    path.write_bytes((folder / "1.wav").read_bytes())
    yield path
    path.unlink()


def lines(folder: Path, bundle: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-c", MMS, *arguments, "--bundle", str(bundle)]
    return subprocess.run(words, cwd=folder, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("form", ["text", "json", "ctm", "csv", "srt", "textgrid", "eaf"])
def test_names_that_are_not_utf_8(odd: Path, folder: Path, tiny_bundle: Path, form: str) -> None:
    """In text the bytes of the name, in JSON a readable form."""
    if form == "eaf":
        pytest.importorskip("pympi")
    several = [] if form in ("srt", "textgrid", "eaf", "csv") else ["2.wav"]
    given = ["transcribe", ODD, *several, "--lang", "eng", "--format", form]
    result = lines(folder, tiny_bundle, *given)
    assert (result.returncode, result.stderr) == (0, b"")
    if form == "text":
        assert result.stdout.startswith(b"caf\xe9.wav\t")
    elif form == "json":
        assert json.loads(result.stdout.splitlines()[0])["file"] == "caf\\xe9.wav"
    elif form == "eaf":
        assert b"caf%E9.wav" in result.stdout
    written = lines(folder, tiny_bundle, *given, "-o", "out.txt")
    assert written.returncode == 0
    assert (folder / "out.txt").read_bytes() == result.stdout


def test_scores_and_folders_of_names_that_are_not_utf_8(
    odd: Path, folder: Path, tiny_bundle: Path
) -> None:
    pytest.importorskip("jiwer")
    table = odd.with_suffix(".tsv")
    inner = folder / os.fsdecode(b"d\xe9")
    inner.mkdir()
    (inner / "1.wav").write_bytes(odd.read_bytes())
    (inner / table.name).write_text("file\tlang\ttext\n1.wav\teng\ta\n")
    arguments = ["transcribe", "--reference", f"{inner.name}/{table.name}"]
    scored = lines(folder, tiny_bundle, *arguments, "--json")
    assert json.loads(scored.stdout)["files"][0]["file"] == "d\\xe9/1.wav"
    assert lines(folder, tiny_bundle, *arguments).returncode == 0
    out = lines(folder, tiny_bundle, "transcribe", inner.name, ODD, "--lang", "eng", "-o", "out/")
    skipped = b"Skipped 1 file without audio: d\\xe9/caf\\xe9.tsv\n"
    assert (out.returncode, out.stderr) == (0, skipped)
    assert (folder / "out" / odd.with_suffix(".txt").name).is_file()


ODD_ERRORS = {
    "missing recording": (["transcribe", ODD, "--lang", "eng"], 1, b"caf\\xe9.wav does not exist"),
    "one of several": (["transcribe", ODD, "1.wav", "--lang", "eng"], 1, b"caf\\xe9.wav does not"),
    "language": (["transcribe", "1.wav", "--lang", ODD], 1, b"'caf\\udce9.wav'"),
    "query": (["languages", ODD], 1, b"'caf\\udce9.wav'"),
    "bundle": (["doctor", "--bundle", ODD, "--json"], 1, b""),
    "option": (["languages", f"--{ODD}"], 2, b"'--caf\\udce9.wav'"),
    "model": (["lm", "convert", ODD, "a.lm"], 1, b"caf\\xe9.wav: No such file or directory"),
}


@pytest.mark.parametrize("case", ODD_ERRORS)
def test_errors_about_names_that_are_not_utf_8(folder: Path, tiny_bundle: Path, case: str) -> None:
    arguments, code, message = ODD_ERRORS[case]
    environment = {**os.environ, "MMS_BUNDLE": str(tiny_bundle)}
    words = [sys.executable, "-c", MMS, *arguments]
    result = subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False)
    assert result.returncode == code
    assert message in result.stderr
    assert b"Traceback" not in result.stderr
    if case == "bundle":
        assert "caf\\xe9.wav" in json.loads(result.stdout)[-1]["detail"]


def test_bundle_whose_name_is_not_utf_8_is_one_error(folder: Path, tiny_bundle: Path) -> None:
    link = folder / os.fsdecode(b"b\xe9")
    link.symlink_to(tiny_bundle)
    result = lines(folder, link, "transcribe", "1.wav", "--lang", "eng")
    assert result.returncode == 1
    assert result.stderr.startswith(b"Error: the name of the bundle ")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [["transcribe", "-"], ["stream", "-"]])
def test_closed_standard_input_is_one_error(
    folder: Path, tiny_bundle: Path, arguments: list[str]
) -> None:
    command = Command(MMS, " ".join([*arguments, "--lang", "eng"]))
    result = run(command, folder, tiny_bundle, Condition(closed=0))
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert b"cannot be read" in result.stderr


def parameters(command: click.Command, path: str) -> Iterator[tuple[str, click.Parameter]]:
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}", parameter
    for name, child in getattr(command, "commands", {}).items():
        yield from parameters(child, f"{path} {name}")


PROGRAMS = {"mms": mms, "mms-export": mms_export, "mms-bench": mms_bench}
NUMBERS = {
    name: parameter
    for program, command in PROGRAMS.items()
    for name, parameter in parameters(command, program)
    if isinstance(parameter.type, (click.types.FloatParamType, click.types.IntParamType))
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "NaN", "x", ""])
def test_numbers_are_finite(name: str, value: str) -> None:
    parameter = NUMBERS[name]
    with pytest.raises(click.BadParameter):
        parameter.type.convert(value, parameter, None)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_number_out_of_range_is_a_usage_error(folder: Path, tiny_bundle: Path, value: str) -> None:
    given = ["transcribe", "1.wav", "--lang", "eng", "--max-seconds", value]
    result = lines(folder, tiny_bundle, *given)
    assert result.returncode == 2
    assert b"Invalid value for '--max-seconds'" in result.stderr


SLOW = (
    "import time\nfrom mms_engine.asr import recognizer\n"
    "each = recognizer.Recognizer.transcribe_each\n"
    "def slow(*given):\n"
    "    for result in each(*given):\n        yield result\n        {pause}\n"
    "recognizer.Recognizer.transcribe_each = slow\n"
)
"""Pauses after the first transcript, like a second recording that takes long."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_keeps_the_old_file_and_what_is_finished(
    tmp_path: Path, folder: Path, tiny_bundle: Path, number: int
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    arguments = ["transcribe", "1.wav", "2.wav", "--lang", "eng", "-o", str(out)]
    words = [sys.executable, "-c", SLOW.format(pause="time.sleep(60)") + MMS, *arguments]
    with subprocess.Popen(
        [*words, "--bundle", str(tiny_bundle)], cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (partial := list(tmp_path.glob("out.txt.*.partial"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not partial[0].stat().st_size:
            time.sleep(0.05)
        process.send_signal(number)
        _, messages = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert messages == f"Incomplete output: {partial[0]}\n"
    assert out.read_text() == "old"
    assert partial[0].read_text().startswith("1.wav\t")
    assert partial[0].read_text().count("\n") == 1


def test_error_keeps_the_old_file_and_what_is_finished(
    tmp_path: Path, folder: Path, tiny_bundle: Path
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    arguments = ["transcribe", "1.wav", "2.wav", "--lang", "eng", "-o", str(out)]
    code = SLOW.format(pause="raise MemoryError") + MMS
    words = [sys.executable, "-c", code, *arguments, "--bundle", str(tiny_bundle)]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    (partial,) = tmp_path.glob("*.partial")
    assert result.returncode == 1
    assert result.stderr == f"Incomplete output: {partial}\nError: out of memory\n"
    assert out.read_text() == "old"
    assert partial.read_text().startswith("1.wav\t")


def test_ignored_hangup_stays_ignored(folder: Path, tiny_bundle: Path) -> None:
    """The state under nohup."""
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from mms_engine.cli.shell import signals\n"
        "with signals(): os.kill(os.getpid(), signal.SIGHUP)\nprint('alive')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "alive\n")


def test_alignments_and_clips_of_names_that_are_not_utf_8(
    odd: Path, folder: Path, tiny_bundle: Path
) -> None:
    (folder / "text.txt").write_text("dc dec\n")
    given = [ODD, "text.txt", "--lang", "eng"]
    aligned = lines(folder, tiny_bundle, "align", *given, "--format", "json")
    assert json.loads(aligned.stdout)["file"] == "caf\\xe9.wav"
    for _ in range(2):
        made = lines(folder, tiny_bundle, "segment", *given, "--out", "clips", "--resume")
        assert b"Traceback" not in made.stderr
    rows = [
        json.loads(line)
        for path in (folder / "clips").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert {Path(row["source"]).name for row in rows} == {ODD}
