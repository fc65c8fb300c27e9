"""Ten seconds of fuzzing with a fixed seed, and proof that it finds what it looks for."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import click
import pytest

from mms_engine.audio import read_audio
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


def test_seeds_are_read_whole_and_mutations_change_them(tmp_path):
    """A target that refuses its own seed would find nothing."""
    import run
    from targets import targets

    (tmp_path / "seeds").mkdir()
    every = targets(tmp_path / "seeds", *run.prepare(tmp_path))
    assert len(every) > 60
    for target in every:
        path = tmp_path / target.name
        path.write_bytes(target.seed)
        use = read_audio if target.name.startswith("audio") else target.use
        outcome = run.read_in_child(replace(target, use=shown(use)), path, tmp_path / "log")
        assert (outcome.finding, outcome.log) == ("", ""), target.name
        generators = map(Random, range(20))
        changed = {run.damaged(generator, target, every) for generator in generators}
        assert len(changed) > 15


def shown(use):
    """Return a reader whose refusals are errors of another kind."""

    def read(path):
        try:
            use(path)
        except (MmsError, click.ClickException) as error:
            raise AssertionError(str(error)) from error

    return read
