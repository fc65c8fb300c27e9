"""Whole commands: timing, memory and exit; and the cases made of them."""

import sys
import time
from dataclasses import replace

import psutil
import pytest

from bench.bench_samples import make_context
from mms_bench.errors import Failed, Skipped
from mms_bench.run import commands
from mms_bench.run.race import Pace
from mms_bench.suites import asr, export


def python(code):
    return (sys.executable, "-c", code)


def test_time_output_and_memory_of_a_command():
    code = "import time; block = bytearray(150_000_000); time.sleep(0.4); print('done')"
    outcome = commands.run(python(code), threads=1, watch=True)
    assert outcome.stdout == "done\n"
    assert outcome.seconds >= 0.4
    assert 150e6 < outcome.peak_memory < 200e6


def test_memory_is_the_sum_over_all_processes():
    child = "import time; b = bytearray(100_000_000); time.sleep(0.6)"
    code = f"import subprocess, sys; [p.wait() for p in [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]]"  # noqa: E501
    outcome = commands.run(python(code), threads=1, watch=True)
    assert 200e6 < outcome.peak_memory < 300e6


def test_error_is_the_last_line_of_stderr():
    code = "import sys; sys.stderr.write('first\\nwhat went wrong\\n'); sys.exit(3)"
    with pytest.raises(Failed, match="exit status 3: what went wrong"):
        commands.run(python(code), threads=1, watch=False)


def test_silent_error_is_reported():
    with pytest.raises(Failed, match="exit status 9: it wrote nothing to stderr"):
        commands.run(python("import os; os._exit(9)"), threads=1, watch=False)


def test_missing_command_is_skipped():
    with pytest.raises(Skipped, match="the command mms-nothing is not installed"):
        commands.script("mms-nothing")


def test_interrupt_ends_the_command_and_its_children(monkeypatch):
    import subprocess

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


def by_name(rows):
    return {row.implementation: row for row in rows}


def test_cold_start_needs_a_demo_bundle(tmp_path):
    context = make_context(tmp_path, ("transformers",))
    rows = by_name(asr.measure_cold(context))
    assert rows["mms transcribe"].status == "skipped"
    assert rows["mms transcribe"].reason == (
        "there is no demo bundle: make it with mms-export --model demo"
    )
    help_ = rows["mms --help"]
    assert help_.status == "ok", help_.reason
    assert help_.summary.count >= 3
    assert help_.peak_memory > 1e6


def test_graphs_are_exported_into_fresh_folders(tmp_path, monkeypatch):
    """Commands of the same shape stand in for the exports, which take seconds each."""
    code = "import os, sys; os.makedirs(sys.argv[-1]); open(sys.argv[-1] + '/graph', 'w').close()"

    def ours(context, languages, precision):
        if precision == "int8":
            return python("import sys; sys.exit('no parity')")
        return python(code)

    monkeypatch.setattr(export, "_export_command", ours)
    monkeypatch.setattr(export, "_plain_command", lambda *_: python(code))
    context = make_context(tmp_path, ("torch.onnx", "ours-fp32", "ours-int8"))
    object.__setattr__(
        context, "options", replace(context.options, pace=Pace(warmup=0, min_time=0))
    )
    rows = by_name(export.measure_graphs(context))
    assert rows["torch.onnx"].status == rows["ours-fp32"].status == "ok"
    assert rows["ours-fp32"].summary.count == 5, "each in a folder that did not exist"
    assert rows["ours-int8"].reason == "exit status 1: no parity"
    assert "transformers" in context.versions
    assert not (tmp_path / "ours-fp32").exists()


def test_adapters_are_added_to_a_copy(tmp_path, monkeypatch):
    code = (
        "import os, sys; out = sys.argv[-1]; names = sys.argv[1].split(',');"
        "os.makedirs(out, exist_ok=True);"
        "assert all(not os.path.exists(f'{out}/{name}') for name in names);"
        "assert names == ['eng'] or os.path.exists(f'{out}/eng');"
        "[open(f'{out}/{name}', 'w').close() for name in names]"
    )
    monkeypatch.setattr(
        export,
        "_export_command",
        lambda context, languages, _: (*python(code), ",".join(languages)),
    )
    context = make_context(tmp_path, ("torch.onnx",), languages=("eng", "swh", "fra"))
    (row,) = export.measure_adapters(context)
    assert row.status == "ok", row.reason
    assert row.amount == 2
    assert row.summary.count >= 3
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["eng"]


def test_adapters_need_two_languages(tmp_path):
    (row,) = export.measure_adapters(make_context(tmp_path, ("torch.onnx",), languages=("eng",)))
    assert (row.status, row.reason) == (
        "skipped",
        "needs two languages: name more with --languages",
    )
