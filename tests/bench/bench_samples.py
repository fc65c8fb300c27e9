"""Results and contexts for the tests of the bench."""

from mms_bench.peers import PEERS
from mms_bench.run.context import Context, RunOptions
from mms_bench.run.race import Pace
from mms_bench.run.result import Case, Check, Machine, Model, Result, Row, summarise
from mms_export.parity import SPEECH

QUICK = Pace(warmup=0.01, min_time=0.02, min_samples=3)
MACHINE = Machine(
    cpu="Test CPU",
    cores=2,
    threads=4,
    features=("avx2",),
    memory=24_000_000_000,
    gpu="none",
    cuda="",
    os="Linux 6",
    python="3.11.7",
    load_before=0.1,
)
MODEL = Model(name="mms-1b", parameters=964_700_000, languages=1162, full_size=True)
CLIP = Case(
    name="clip", title="One clip", timing="Timed: x.", unit="s of audio", baseline="transformers"
)
GOOD = Check(
    max_abs_error=1e-5,
    argmax_agreement=1.0,
    frames=499,
    max_abs_error_limit=2e-3,
    argmax_agreement_limit=0.999,
    passed=True,
)


def make_options(folder, peers=(), **changes):
    fields = {
        "checkpoint": folder,
        "bundle": folder,
        "cache": folder,
        "languages": ("eng", "swahili"),
        "threads": 1,
        "peers": peers,
        "seconds": 0.2,
        "batch": 4,
        "audio": (SPEECH,),
        "recordings": folder / "none.tsv",
        "pace": QUICK,
    }
    return RunOptions(**(fields | changes))


def make_context(folder, peers, *, tell=lambda _: None, table=PEERS, **changes):
    return Context(make_options(folder, peers, **changes), folder, tell, {}, table)


def make_row(key, samples, **extra):
    case, _, implementation = key.partition("/")
    fields = {"samples": tuple(samples), "summary": summarise(samples)}
    return Row(case=case, implementation=implementation, **fields, **extra)


def make_result(rows=None, cases=(CLIP,), **extra):
    memory = 4_000_000_000
    rows = rows or (
        make_row("clip/transformers", [10.0, 10.4, 10.2], amount=10.0, peak_memory=memory),
        make_row("clip/ours-fp32", [8.0, 8.1, 8.2], amount=10.0, check=GOOD, load_seconds=2.5),
        Row(case="clip", implementation="openvino", status="skipped", reason="openvino is | away"),
    )
    fields = {
        "schema": 2,
        "suite": "asr",
        "created": "2026-11-22T10:00:00+00:00",
        "git": "abc123",
        "command": "mms-bench run asr",
        "machine": MACHINE,
        "versions": {"torch": "2.13"},
        "model": MODEL,
        "settings": {"clip": "10 s", "threads": "2"},
    }
    return Result(**(fields | extra), cases=cases, rows=tuple(rows))


def by_key(rows):
    return {row.key: row for row in rows}
