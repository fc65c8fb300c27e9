"""Results and contexts for the tests of the bench."""

from mms_bench.peers.base import Setup
from mms_bench.run.context import Context, RunOptions
from mms_bench.run.race import Pace
from mms_bench.run.result import (
    SCHEMA_VERSION,
    Case,
    Check,
    Machine,
    Model,
    Result,
    Row,
    summarise,
)
from mms_export.parity import SPEECH

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


def make_setup(folder, languages=("eng", "swh")):
    return Setup(checkpoint=folder, bundle=folder, cache=folder, languages=languages, threads=1)


def make_context(folder, peers, *, languages=("eng", "swahili"), tell=lambda _: None, table=None):
    options = RunOptions(
        peers=peers,
        model="test",
        demo_bundle=folder / "none",
        seconds=0.2,
        batch=4,
        audio=(SPEECH,),
        recordings=folder / "none.tsv",
        pace=QUICK,
    )
    extra = {} if table is None else {"peers": table}
    return Context(options, make_setup(folder, languages), folder, tell, {}, **extra)


def make_row(case, implementation, samples, **extra):
    summary = summarise(samples)
    return Row(
        case=case, implementation=implementation, samples=tuple(samples), summary=summary, **extra
    )


def make_result(rows=None, cases=(CLIP,), **extra):
    memory = 4_000_000_000
    rows = rows or (
        make_row("clip", "transformers", [10.0, 10.4, 10.2], amount=10.0, peak_memory=memory),
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


def by_name(rows):
    return {(row.case, row.implementation): row for row in rows}
