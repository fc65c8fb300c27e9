"""Results and contexts for the tests of the bench."""

import functools
import sys
from pathlib import Path

from mms_bench.options import Context, RunOptions
from mms_bench.peers.base import Setup
from mms_bench.race import Pace
from mms_bench.remote import Worker
from mms_bench.schema import SCHEMA_VERSION, Case, Check, Machine, Model, Result, Row
from mms_bench.statistics import summarise
from mms_export.parity import SPEECH

STUB = (sys.executable, str(Path(__file__).with_name("stub_worker.py")))
QUICK = Pace(warmup=0.01, min_time=0.02, min_samples=3)

MACHINE = Machine(
    cpu="Test CPU",
    cores=2,
    threads=4,
    features=("avx2",),
    memory=24_000_000_000,
    gpu="none",
    driver="",
    cuda="",
    os="Linux 6",
    python="3.11.7",
    load_before=0.1,
)
CLIP = Case(
    name="clip", title="One clip", timing="Timed: x.", unit="s of audio", baseline="transformers"
)
ONE = Case(name="batch-one", title="One language", timing="Timed: y.", unit="s of audio")
MIXED = Case(
    name="batch-mixed", title="Mixed", timing="Timed: y.", unit="s of audio", baseline="batch-one/"
)
GOOD = Check(
    max_abs_error=1e-5,
    argmax_agreement=1.0,
    frames=499,
    max_abs_error_limit=2e-3,
    argmax_agreement_limit=0.999,
    passed=True,
)


def make_setup(tmp_path, languages=("eng", "swh")):
    return Setup(
        checkpoint=str(tmp_path),
        bundle=str(tmp_path),
        cache=str(tmp_path),
        languages=languages,
        threads=1,
    )


def stub_worker(peer, tmp_path, **extra):
    return Worker(peer, make_setup(tmp_path), command=STUB, **extra)


def make_context(tmp_path, peers, *, languages=("eng", "swahili"), lines=None, batch=4):
    options = RunOptions(
        peers=peers,
        checkpoint=tmp_path,
        model="test",
        bundle=tmp_path,
        demo_bundle=tmp_path / "none",
        seconds=0.2,
        batch=batch,
        cache=tmp_path,
        audio=(SPEECH,),
        recordings=tmp_path / "none.tsv",
        pace=QUICK,
    )
    tell = (lambda _: None) if lines is None else lines.append
    worker = functools.partial(Worker, command=STUB)
    return Context(options, make_setup(tmp_path, languages), tmp_path, tell, {}, worker)


def make_row(case, implementation, samples, **extra):
    return Row(
        case=case,
        implementation=implementation,
        status="ok",
        samples=tuple(samples),
        summary=summarise(samples),
        **extra,
    )


def make_result(rows=None, cases=(CLIP,), **extra):
    rows = rows or (
        make_row(
            "clip", "transformers", [10.0, 10.4, 10.2], amount=10.0, peak_memory=4_000_000_000
        ),
        make_row("clip", "ours-fp32", [8.0, 8.1, 8.2], amount=10.0, check=GOOD, load_seconds=2.5),
        Row(case="clip", implementation="openvino", status="skipped", reason="openvino is | away"),
    )
    fields = {
        "schema": SCHEMA_VERSION,
        "suite": "asr",
        "created": "2026-11-22T10:00:00+00:00",
        "git": "abc123",
        "command": "mms-bench run asr",
        "machine": MACHINE,
        "versions": {"torch": "2.13"},
        "model": Model(name="mms-1b", parameters=964_700_000, languages=1162, full_size=True),
        "settings": {"clip": "10 s", "threads": "2"},
    }
    return Result(**(fields | extra), cases=cases, rows=tuple(rows))
