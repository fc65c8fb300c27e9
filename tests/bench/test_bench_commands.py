"""Whole commands: timing, memory and exit; and the cases made of them."""

import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from bench.bench_samples import by_key, make_context
from mms_bench.errors import Failed, Skipped
from mms_bench.run import commands
from mms_bench.run.race import Pace
from mms_bench.suites import asr, export


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


def test_graphs_are_exported_into_fresh_folders(tmp_path, monkeypatch):
    """Commands of the same shape stand in for the exports, which take seconds each."""
    code = "import os, sys; os.makedirs(sys.argv[-1]); open(sys.argv[-1] + '/graph', 'w').close()"

    def ours(context, languages, precision):
        if precision == "int8":
            return python("import sys; sys.exit('no parity')")
        return python(code)

    monkeypatch.setattr(export, "_export_command", ours)
    monkeypatch.setattr(export, "_plain_command", lambda *_: python(code))
    peers = ("torch.onnx", "ours-fp32", "ours-int8")
    context = make_context(tmp_path, peers, pace=Pace(warmup=0, min_time=0))
    rows = by_key(export.measure_graphs(context))
    plain, fp32, int8 = (rows[f"export-graphs/{peer}"] for peer in peers)
    assert plain.status == fp32.status == "ok"
    assert fp32.summary.count == 5, "each in a folder that did not exist"
    assert int8.reason == "exit status 1: no parity"
    assert "transformers" in context.versions
    assert not (tmp_path / "ours-fp32").exists()


def test_adapters_are_added_to_a_copy_and_need_two_languages(tmp_path, monkeypatch):
    code = (
        "import os, sys; out = sys.argv[-1]; names = sys.argv[1].split(',');"
        "os.makedirs(out, exist_ok=True);"
        "assert all(not os.path.exists(f'{out}/{name}') for name in names);"
        "assert names == ['eng'] or os.path.exists(f'{out}/eng');"
        "[open(f'{out}/{name}', 'w').close() for name in names]"
    )

    def command(context, languages, _):
        return (*python(code), ",".join(languages))

    monkeypatch.setattr(export, "_export_command", command)
    context = make_context(tmp_path, ("torch.onnx",), languages=("eng", "swh", "fra"))
    (row,) = export.measure_adapters(context)
    assert row.status == "ok", row.reason
    assert row.amount == 2
    assert row.summary.count >= 3
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["eng"]
    one = replace(context, options=replace(context.options, languages=("eng",)))
    (row,) = export.measure_adapters(one)
    assert row.reason == "needs two languages: name more with --languages"
