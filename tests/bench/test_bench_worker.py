"""Peers in processes of their own."""

import contextlib
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from bench.bench_samples import make_options
from bench.stub_peers import TABLE
from mms_bench.errors import Failed, Skipped
from mms_bench.peers.base import Batch, Switch
from mms_bench.run.worker import Worker, repeat

WORK = Batch(np.arange(600, dtype=np.float32).reshape(2, 300), ("eng", "swahili"))


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(Worker(TABLE[name], make_options(tmp_path)))


def test_worker_loads_calls_and_times_a_peer(start):
    worker = start("onnx")
    before = worker.peak_memory()
    worker.load()
    assert worker.load_seconds >= 0.01
    assert worker.precision == "fp32"
    assert 50e6 < worker.peak_memory() - before < 80e6
    first = worker.first(WORK)
    assert first.seconds >= 0.002
    assert [logits.shape for logits in first.result] == [(100, 3), (100, 3)]
    assert first.result[1][0, 0] == 300 + len("swahili")
    times = worker.repeat(first.number, 0.02, 100)
    # A nap is never shorter than asked for; how much longer depends on the machine.
    assert 1 <= len(times) <= 10
    assert min(times) >= 0.002


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no-such-package is not installed"),
        ("unimportable", "no_such_module is not installed"),
    ],
)
def test_missing_package_skips_the_peer(start, name, reason):
    with pytest.raises(Skipped, match=f"^{reason}$"):
        start(name)


def test_error_is_one_line_and_worker_goes_on(start):
    worker = start("unbuildable")
    with pytest.raises(Failed, match=r"^RuntimeError: cannot be built$"):
        worker.build()
    with pytest.raises(Skipped, match="has one language"):
        worker.first(Switch(("eng", "swh")))
    assert worker.first(WORK).seconds > 0


def test_dead_worker_reports_its_last_words(start):
    worker = start("dying")
    number = worker.first(WORK).number
    with pytest.raises(Failed, match="ended with signal SIGABRT: the last words"):
        worker.repeat(number, 1, 100)
    with pytest.raises(Failed, match="SIGABRT"):
        worker.peak_memory()


def test_waiting_takes_no_processor_time(start):
    process = psutil.Process(start("onnx").pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(0.5)
    assert sum(process.cpu_times()[:2]) - before <= 0.02


def gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_closing_ends_the_worker_and_its_children(start):
    worker = start("dying")
    worker.first(WORK)
    (child,) = psutil.Process(worker.pid).children()
    worker.close()
    assert gone(worker.pid)
    assert gone(child.pid)


def test_killed_master_ends_its_workers(tmp_path):
    code = f"""
import pathlib, sys, time
sys.path[:0] = {sys.path!r}
from bench.bench_samples import make_options
from bench.stub_peers import TABLE
from mms_bench.run.worker import Worker
worker = Worker(TABLE["onnx"], make_options(pathlib.Path({str(tmp_path)!r})))
print(worker.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as master:
        pid = int(master.stdout.readline())
        master.kill()
        assert gone(pid)


def test_threads_are_limited_before_libraries_start(start, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert psutil.Process(start("onnx").pid).environ()["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, (1, 1)), (10.0, (7, 7)), (0.05, (1, 6))])
def test_repeat_is_bounded_by_time_and_number(seconds, calls):
    nap = 0.01 if seconds < 1 else 0.0
    assert calls[0] <= len(repeat(lambda: time.sleep(nap), seconds, 7)) <= calls[1]
