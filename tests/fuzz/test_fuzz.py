"""Ten seconds of fuzzing with a fixed seed, and proof that it finds what it looks for."""

import os
import resource
import subprocess
import sys
import time
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
def test_each_kind_of_finding_is_found(use, finding, tmp_path, monkeypatch):
    import run
    from targets import Target

    monkeypatch.setattr(run, "WALL_SECONDS", 2 if use is wait else 60)
    outcome = run.read_in_child(Target("x", b"", (), use), tmp_path / "x", tmp_path / "log")
    assert outcome.finding.startswith(finding)
    assert bool(outcome.finding) == bool(finding)


def test_seed_that_is_refused_ends_the_run(tmp_path):
    import run
    from targets import Target

    for use in (refuse, fail):
        with pytest.raises(SystemExit, match="the seed of x is not read"):
            run.check_seeds([Target("x", b"", (), use)], tmp_path)
    run.check_seeds([Target("x", b"", (), refuse, str)], tmp_path)


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
