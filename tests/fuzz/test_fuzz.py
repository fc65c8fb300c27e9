"""Ten seconds of fuzzing with a fixed seed, and proof that it finds what it looks for."""

import multiprocessing
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

import pytest

from mms_engine.errors import MmsError

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


def test_ten_seconds_find_nothing(tmp_path):
    command = [sys.executable, str(HERE / "run.py"), "--seconds", "10", "--seed", "12"]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path / "found")], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " files of " in done.stdout


def segmentation_fault(_):
    os.kill(os.getpid(), 11)


def hang(_):
    resource.setrlimit(resource.RLIMIT_CPU, (1, 3))
    while True:
        pass


def wait(_):
    time.sleep(60)


def grow(_):
    kept = [bytearray(os.urandom(1 << 16) * 16) for _ in range(2000)]
    time.sleep(60)
    assert kept


def fail(_):
    raise KeyError("x")


def refuse_without_a_word(_):
    raise MmsError


def refuse(_):
    raise MmsError("the file is damaged")


@pytest.mark.parametrize(
    ("use", "finding"),
    [
        (segmentation_fault, "SIGSEGV"),
        (hang, "more than 10 s"),
        (wait, "more than 10 s"),
        (grow, "more than 1024 MiB"),
        (fail, "KeyError at fuzz/test_fuzz.py"),
        (refuse_without_a_word, "mms_engine.errors.MmsError at fuzz/test_fuzz.py"),
        (refuse, ""),
        (len, "TypeError"),
        (str, ""),
    ],
)
def test_each_kind_of_finding_is_found(use, finding, tmp_path):
    found = in_fresh_process(finding_of, use, tmp_path)
    assert found.startswith(finding)
    assert bool(found) == bool(finding)


def finding_of(use, folder):
    import run
    from targets import Target

    run.WALL_SECONDS = 2 if use is wait else 60
    return run.read_in_child(Target("x", b"", (), use), folder / "x", folder / "log").finding


def in_fresh_process(function, *arguments):
    """Call a function in a small process: a fork begins with the memory of its parent."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@pytest.mark.parametrize(
    ("use", "read_whole", "is_read"),
    [(refuse, None, False), (fail, None, False), (refuse, str, True)],
)
def test_seed_that_is_refused_ends_the_run(use, read_whole, is_read, tmp_path):
    message = in_fresh_process(refusal_of, use, read_whole, tmp_path)
    assert message.startswith("" if is_read else "the seed of x is not read")
    assert bool(message) != is_read


def refusal_of(use, read_whole, folder):
    import run
    from targets import Target

    try:
        run.check_seeds([Target("x", b"", (), use, read_whole)], folder)
    except SystemExit as error:
        return str(error)
    return ""


SEEDS = {
    "lines": b"\\data\\\nngram 1=3\n\n\\1-grams:\n-99 <s>\n-1 </s>\n-0.5 a\n",
    "json": b'{"a": {"b": [1, 2, {"c": null}]}, "d": "e"}',
    "safetensors": (29).to_bytes(8, "little") + b'{"a":{"dtype":"F32","b":[0]}}' + bytes(64),
}


@pytest.mark.parametrize("kind", ["bytes", *SEEDS])
def test_mutations_change_most_files_the_same_way_each_time(kind):
    import mutations

    content = SEEDS.get(kind, bytes(range(256)) * 4)
    name = {"lines": "change_lines", "json": "change_json", "safetensors": "change_safetensors"}
    chosen = mutations.BYTES if kind == "bytes" else (getattr(mutations, name[kind]),)
    for mutation in chosen:
        results = [mutation(Random(n), content) for n in range(100)]  # noqa: S311 (no secret)
        assert len(set(results) - {content}) > 50
        again = [mutation(Random(n), content) for n in range(100)]  # noqa: S311
        assert again == results
