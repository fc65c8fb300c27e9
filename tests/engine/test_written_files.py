"""Files that the programs write, rename or delete: only those the user named, and their own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from engine_sounds import RATE, sound
from lm_models import arpa, estimate, random_text

MMS = "from mms_engine.cli import main; main(prog_name='mms')"
EXPORT = "from mms_export.cli import main; main(prog_name='mms-export')"
BENCH = "from mms_bench.cli import main; main(prog_name='mms-bench')"
AUDIT = """
import os, sys
log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NAMES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.link": 2,
         "os.symlink": 2, "os.truncate": 1, "os.chmod": 1, "os.chown": 1}
def hook(event, args):
    paths = args[:NAMES.get(event, 0)]
    if event == "open" and args[2] & CHANGES:
        paths = args[:1]
    folder = "."
    if event in ("os.remove", "os.rmdir") and args[1] != -1:
        folder = os.readlink(f"/proc/self/fd/{args[1]}")
    for path in paths:
        if not isinstance(path, int) and not (event == "os.mkdir" and os.path.isdir(path)):
            os.write(log, os.path.abspath(os.path.join(folder, path)).encode() + b"\\n")
sys.addaudithook(hook)
"""
"""Records what Python itself changes, where strace cannot record the whole process."""
CHANGING_CALL = re.compile(
    r"(?P<call>rename|unlink|mkdir|rmdir|link|symlink|truncate|creat|chmod|chown|mknod|open)\w*\("
)
CHANGING_OPEN = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
NAME = re.compile(r'(?:(?:\d+|AT_FDCWD)<(?P<folder>[^>]*)>, )?"(?P<name>[^"]*)"')


@pytest.fixture(scope="module")
def can_trace(tmp_path_factory: pytest.TempPathFactory) -> bool:
    if not shutil.which("strace"):
        return False
    log = tmp_path_factory.mktemp("strace") / "log"
    return subprocess.run(["strace", "-o", str(log), "true"], check=False).returncode == 0


def traced(logs: Iterator[Path], folder: Path) -> Iterator[Path]:
    """Yield the paths that a process changed, from the logs of strace."""
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            call = CHANGING_CALL.match(line)
            if not call or re.search(r"\) += -1 ", line):
                continue
            if call["call"] == "open" and not CHANGING_OPEN.search(line):
                continue
            for name in NAME.finditer(line):
                yield Path(os.path.normpath(folder / (name["folder"] or "") / name["name"]))


def changed(
    program: str, words: list[str], folder: Path, environment: dict[str, str], *, can_trace: bool
) -> set[Path]:
    """Return the paths that a program opens for writing, creates, renames, removes or chmods."""
    logs = folder.with_name("logs")
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    before = "" if can_trace else AUDIT.replace("LOG", repr(str(logs / "audit")))
    command = [sys.executable, "-c", before + program, *words]
    if can_trace:
        options = ["-ff", "-y", "-s", "4096", "-e", "%file", "-o", str(logs / "log")]
        command = ["strace", *options, *command]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    if can_trace:
        return set(traced(logs.iterdir(), folder))
    return {Path(line) for line in (logs / "audit").read_text().splitlines()}


BUNDLE = (
    r"(manifest\.json|\.export-journal|graphs|adapters|voices|plans"
    r"|graphs/\w+\.fp32\.onnx(\.data)?|adapters/[\w-]+\.safetensors)"
)
PARTIAL = r"\.[0-9a-f]{8,32}\.partial"


def output(name: str) -> str:
    """Return a pattern of an output, and of its temporary file."""
    folder, _, last = name.rpartition("/")
    folder = f"{re.escape(folder)}/" if folder else ""
    return rf"{folder}(\.?{re.escape(last)}{PARTIAL}|{re.escape(last)})"


CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "languages": (MMS, "languages", ()),
    "doctor": (MMS, "doctor --verify", ()),
    "transcribe": (MMS, "transcribe 1.wav 2.wav --lang eng", ()),
    "transcribe to a file": (
        MMS,
        "transcribe 1.wav 2.wav --lang eng -o out.txt",
        (output("out.txt"),),
    ),
    "transcribe to a link": (
        MMS,
        "transcribe 1.wav --lang eng -o link",
        (output("real/target.txt"),),
    ),
    "transcribe to a folder": (
        MMS,
        "transcribe 1.wav 2.wav --lang eng -o out/",
        ("out", output("out/1.txt"), output("out/2.txt")),
    ),
    "transcribe with an ARPA file": (
        MMS,
        "transcribe 1.wav --lang eng --decoder beam --lm a.arpa",
        (r"tmp/mms-lm-\w+(/model)?", r"tmp/\w{8}"),
    ),
    "stream": (MMS, "stream 1.wav --lang eng", ()),
    "lm convert": (MMS, "lm convert a.arpa a.lm", (output("a.lm"),)),
    "export": (
        EXPORT,
        "--model MODEL --out new --precision fp32 --jobs 1 --quiet",
        ("new", rf"new/{BUNDLE}", rf"new/(\w+/)?\.[\w.-]+{PARTIAL}"),
    ),
    "bench report": (
        BENCH,
        "report result.json --html page.html --chart chart.svg",
        (output("page.html"), output("chart.svg")),
    ),
}
SYSTEM = re.compile(r"/dev/(null|tty|shm/sem\..*)|/proc/.*|/sys/.*")


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_only_named_files_are_changed(
    tmp_path: Path, tiny_bundle: Path, tiny_checkpoint: Path, case: str, can_trace: bool
) -> None:
    program, line, allowed = CASES[case]
    folder = tmp_path / "folder"
    (folder / "tmp").mkdir(parents=True)
    (folder / "real").mkdir()
    for number in (1, 2):
        soundfile.write(folder / f"{number}.wav", sound(1.0, number), RATE)
    (folder / "a.arpa").write_text(arpa(estimate(random_text(["a", "b", "c"], 30, 1), 3)))
    (folder / "link").symlink_to("real/target.txt")
    for name in ("out.txt.partial", "a.lm.partial", "new.partial", "real/notes.txt"):
        (folder / name).write_text("someone's")
    if case.startswith("bench"):
        shutil.copy(a_result(), folder / "result.json")
    before = content(folder), content(tiny_bundle), content(tiny_checkpoint)
    environment = {
        **os.environ,
        "MMS_BUNDLE": str(tiny_bundle),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "MPLCONFIGDIR": str(tmp_path / "cache" / "mms-engine"),
    }
    (tmp_path / "cache" / "mms-engine").mkdir(parents=True)
    environment.pop("ORT_DISABLE_TELEMETRY", None)  # set by the import of this process
    words = line.replace("MODEL", str(tiny_checkpoint)).split()
    found = changed(program, words, folder, environment, can_trace=can_trace)
    foreign = {
        path
        for path in found
        if not SYSTEM.fullmatch(str(path))
        and not path.is_relative_to(tmp_path / "cache" / "mms-engine")
        and not any(is_named(path, folder, pattern) for pattern in allowed)
    }
    assert foreign == set()
    if allowed:
        assert found, "what the program writes is seen"
    after = content(folder)
    assert before[0].items() <= after.items()
    assert (content(tiny_bundle), content(tiny_checkpoint)) == before[1:]
    assert not list((folder / "tmp").iterdir())


def is_named(path: Path, folder: Path, pattern: str) -> bool:
    return path.is_relative_to(folder) and bool(
        re.fullmatch(pattern, path.relative_to(folder).as_posix())
    )


def a_result() -> Path:
    """Return a result file of the repository."""
    return next(iter(sorted((Path(__file__).parents[2] / "bench").rglob("results/*.json"))))
