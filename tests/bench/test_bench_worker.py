import contextlib
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from bench.bench_samples import make_setup
from bench.stub_peers import TABLE
from mms_bench.errors import Failed, Skipped
from mms_bench.peers.base import Batch, Switch
from mms_bench.run.worker import Worker, repeat

WORK = Batch(np.arange(600, dtype=np.float32).reshape(2, 300), ("eng", "swahili"))


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(Worker(TABLE[name], make_setup(tmp_path)))


def test_worker_loads_calls_and_times_a_peer(start):
    worker = start("slow")
    assert worker.load() >= 0.01
    assert worker.precision == "fp32"
    first = worker.first(WORK)
    assert first.seconds >= 0.02
    assert [logits.shape for logits in first.result] == [(100, 3), (100, 3)]
    assert first.result[1][0, 0] == 300 + len("swahili")
    times = worker.repeat(first.number, 0.1, 100)
    # A nap is never shorter than asked for; how much longer depends on the machine.
    assert 1 <= len(times) <= 6
    assert min(times) >= 0.02


def test_output_of_libraries_does_not_disturb_answers(start):
    worker = start("onnx")
    assert len(worker.repeat(worker.first(WORK).number, 0.05, 100)) > 1


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
    assert worker.load() > 0


def test_dead_worker_reports_its_last_words(start):
    worker = start("dying")
    number = worker.first(WORK).number
    with pytest.raises(Failed, match="ended with signal SIGABRT: the last words"):
        worker.repeat(number, 1, 100)
    with pytest.raises(Failed, match="SIGABRT"):
        worker.peak_memory()


def test_peer_without_a_function_is_skipped(start):
    with pytest.raises(Skipped, match="has one language"):
        start("slow").first(Switch(("eng", "swh")))


def test_peak_memory_is_the_worker_s_own(start):
    worker = start("hungry")
    before = worker.peak_memory()
    worker.load()
    assert 200e6 < worker.peak_memory() - before < 240e6


def test_waiting_takes_no_processor_time(start):
    process = psutil.Process(start("slow").pid)
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
    worker = start("parent")
    (child,) = worker.first(WORK).result
    assert psutil.pid_exists(child)
    worker.close()
    assert gone(worker.pid)
    assert gone(child)


def test_killed_master_ends_its_workers(tmp_path):
    code = f"""
import pathlib, sys, time
sys.path[:0] = {sys.path!r}
from bench.bench_samples import make_setup
from bench.stub_peers import TABLE
from mms_bench.run.worker import Worker
worker = Worker(TABLE["slow"], make_setup(pathlib.Path({str(tmp_path)!r})))
print(worker.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as master:
        pid = int(master.stdout.readline())
        master.kill()
        assert gone(pid)


def test_threads_are_limited_before_libraries_start(start, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert psutil.Process(start("slow").pid).environ()["OMP_NUM_THREADS"] == "1"
    assert psutil.Process().environ().get("OMP_NUM_THREADS") != "1"


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (10.0, 7)])
def test_repeat_is_bounded(seconds, calls):
    assert len(repeat(lambda: None, seconds, 7)) == calls


def test_repeat_stops_after_its_time():
    assert len(repeat(lambda: time.sleep(0.01), 0.05, 100)) <= 6
