import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from bench.bench_samples import STUB, make_setup, stub_worker
from mms_bench.errors import NotHere, WorkerFailed
from mms_bench.messages import Begin, Workload
from mms_bench.timing import repeat


@pytest.fixture
def workload(tmp_path):
    np.save(tmp_path / "audio.npy", np.arange(2 * 300, dtype=np.float32).reshape(2, 300))
    return Workload(action="run", languages=("eng", "swahili"), audio=str(tmp_path / "audio.npy"))


def test_a_peer_is_loaded_called_and_timed(tmp_path, workload):
    with stub_worker("slow", tmp_path) as worker:
        assert worker.versions == {"stub": "1.0"}
        assert worker.prepare() >= 0.01
        assert worker.precision == "fp32"
        assert worker.first(workload, keep=str(tmp_path)) >= 0.02
        times = worker.repeat(workload, 0.1, 100)
    # A nap is never shorter than asked for; how much longer is the machine's affair.
    assert 1 <= len(times) <= 6
    assert min(times) >= 0.02
    assert min(times) >= 0.02
    assert np.load(tmp_path / "0.npy").shape == (100, 3)
    assert np.load(tmp_path / "1.npy")[0, 0] == 300 + len("swahili")


def test_what_libraries_print_does_not_spoil_the_answers(tmp_path, workload):
    with stub_worker("onnx", tmp_path) as worker:
        worker.prepare()
        assert len(worker.repeat(workload, 0.05, 100)) > 1


def test_one_that_is_not_here(tmp_path):
    with pytest.raises(NotHere, match="nothing is not installed"):
        stub_worker("missing", tmp_path)


def test_an_error_is_one_line(tmp_path):
    with stub_worker("unbuildable", tmp_path) as worker:
        with pytest.raises(WorkerFailed, match=r"^RuntimeError: cannot be built$"):
            worker.build()
        assert worker.prepare() > 0, "the process goes on"


def test_one_that_dies_tells_its_last_words(tmp_path, workload):
    with stub_worker("dying", tmp_path) as worker:
        worker.first(workload)
        with pytest.raises(WorkerFailed, match="ended with signal SIGABRT: the last words"):
            worker.repeat(workload, 1, 100)
        with pytest.raises(WorkerFailed, match="SIGABRT"):
            worker.peak_memory()


def test_one_that_cannot_switch(tmp_path):
    with stub_worker("slow", tmp_path) as worker:
        workload = Workload(action="switch-disk", languages=("eng", "swh"))
        with pytest.raises(NotHere, match="one language baked in"):
            worker.repeat(workload, 0, 1)


def test_peak_memory_is_its_own(tmp_path):
    with stub_worker("hungry", tmp_path) as worker:
        before = worker.peak_memory()
        worker.prepare()
        assert 200e6 < worker.peak_memory() - before < 240e6


def test_waiting_costs_no_processor_time(tmp_path, workload):
    with stub_worker("slow", tmp_path) as worker:
        worker.repeat(workload, 0.05, 100)
        process = psutil.Process(worker.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(0.5)
        assert sum(process.cpu_times()[:2]) - before <= 0.02


def gone(pid):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_closing_ends_the_process_and_those_it_started(tmp_path):
    with stub_worker("parent", tmp_path) as worker:
        child = int(worker.versions["child"])
        assert psutil.pid_exists(child)
    assert gone(worker.pid)
    assert gone(child)


def test_a_worker_whose_master_was_killed_ends(tmp_path):
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from bench.bench_samples import stub_worker
worker = stub_worker("slow", {str(tmp_path)!r})
print(worker.pid, flush=True)
time.sleep(60)
"""
    master = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        pid = int(master.stdout.readline())
        master.send_signal(signal.SIGKILL)
        assert gone(pid)
    finally:
        master.kill()
        master.wait()
        master.stdout.close()


def test_threads_are_limited_before_libraries_start(tmp_path):
    with stub_worker("slow", tmp_path) as worker:
        assert psutil.Process(worker.pid).environ()["OMP_NUM_THREADS"] == "1"


def test_a_message_that_makes_no_sense_ends_nothing(tmp_path):
    with subprocess.Popen(STUB, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"nonsense\n")
        process.stdin.flush()
        assert b"DecodeError" in process.stdout.readline()


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (10.0, 7)])
def test_repeat_is_bounded(seconds, calls):
    assert len(repeat(lambda: None, seconds, 7)) == calls


def test_repeat_stops_after_its_time():
    assert len(repeat(lambda: time.sleep(0.01), 0.05, 100)) <= 6


def test_setup_travels_whole(tmp_path):
    import msgspec

    begin = Begin(peer="x", setup=make_setup(tmp_path))
    assert msgspec.json.decode(msgspec.json.encode(begin), type=Begin) == begin
    assert os.fspath(tmp_path) == begin.setup.checkpoint
