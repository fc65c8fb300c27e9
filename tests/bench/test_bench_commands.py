"""Whole commands: timing, memory and exit; and the cases made of them."""

import subprocess
import sys
import time

import psutil
import pytest

from bench.bench_samples import by_key, make_context
from mms_bench.errors import Failed, Skipped
from mms_bench.run import commands
from mms_bench.suites import asr


def python(code):
    return (sys.executable, "-c", code)


def test_time_output_and_memory_of_all_processes_of_a_command():
    child = "import time; b = bytearray(100_000_000); time.sleep(0.6); print('done')"
    code = f"import subprocess, sys; [p.wait() for p in [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]]"  # noqa: E501
    outcome = commands.run(python(code), threads=1, watch=True)
    assert outcome.stdout == "done\n" * 2
    assert outcome.seconds >= 0.6
    assert 200e6 < outcome.peak_memory < 300e6


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import sys; sys.stderr.write('first\\nwhat went wrong\\n'); sys.exit(3)",
            "exit status 3: what went wrong",
        ),
        ("import os; os._exit(9)", "exit status 9: it wrote nothing to stderr"),
    ],
)
def test_error_is_the_last_line_of_stderr(code, message):
    with pytest.raises(Failed, match=message):
        commands.run(python(code), threads=1, watch=False)


def test_missing_command_is_skipped():
    with pytest.raises(Skipped, match="the command mms-nothing is not installed"):
        commands.script("mms-nothing")


def test_interrupt_ends_the_command_and_its_children(monkeypatch):
    original = subprocess.Popen.wait

    def interrupted(process, timeout=None):
        monkeypatch.setattr(subprocess.Popen, "wait", original)
        time.sleep(0.3)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    code = "import subprocess; subprocess.run(['sleep', '61'])"
    with pytest.raises(KeyboardInterrupt):
        commands.run(python(code), threads=1, watch=False)
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "61"]]
    # It is killed, and dies when it is next given a processor: on a busy machine not at once.
    assert psutil.wait_procs(left, timeout=10)[1] == []


def test_cold_start_needs_a_demo_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(asr, "demo_bundle", lambda: tmp_path / "none")
    rows = by_key(asr.measure_cold(make_context(tmp_path, ("transformers",))))
    assert rows["cold/mms transcribe"].status == "skipped"
    assert rows["cold/mms transcribe"].reason == (
        "there is no demo bundle: make it with mms-export --model demo"
    )
    help_ = rows["cold/mms --help"]
    assert help_.status == "ok", help_.reason
    assert help_.summary.count >= 3
    assert help_.peak_memory > 1e6
