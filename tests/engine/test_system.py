"""Memory of the process."""

import ctypes
import subprocess
import sys

import pytest

FREED = """
import re, threading
from pathlib import Path
import numpy as np
from mms_engine.system import return_freed_memory

def resident():
    return 1024 * int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

return_freed_memory()
begin = resident()
barrier = threading.Barrier(12)

def work(seed):
    random = np.random.default_rng(seed)
    kept = []
    barrier.wait()
    for _ in range(60):
        blocks = [np.ones(random.integers(1 << 18, 3 << 19)) for _ in range(3)]
        kept.append(np.ones(200))
        del blocks
    barrier.wait()

threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - begin)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_memory_that_threads_freed_is_returned() -> None:
    """Blocks of 2 to 12 MB; it is 400 MB without the call."""
    done = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 40e6
