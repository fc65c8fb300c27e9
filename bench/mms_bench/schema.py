"""The result file: one run of one suite on one machine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from mms_bench.errors import BenchError
from mms_bench.statistics import Summary

SCHEMA_VERSION = 1
QUIET = 0.5
"""Load average above which other programs disturb the times."""

Status = Literal["ok", "skipped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it ran."""

    cpu: str
    cores: int
    """Physical cores this process may use."""
    threads: int
    """Hardware threads this process may use."""
    features: tuple[str, ...]
    """Vector instructions that decide the speed of matrix products."""
    memory: int
    """Bytes."""
    gpu: str
    """Name, or why there is none."""
    driver: str
    cuda: str
    os: str
    python: str
    load_before: float
    """Load average of the last minute when the run began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What was run."""

    name: str
    parameters: int
    """Without the adapters of other languages."""
    languages: int
    """In the checkpoint."""
    full_size: bool
    """Whether it has the layers and widths of facebook/mms-1b-all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How far an implementation's logits are from the reference's on the audio that is timed."""

    max_abs_error: float
    argmax_agreement: float
    """Share of frames with the same most likely token, in [0, 1]."""
    frames: int
    max_abs_error_limit: float | None
    """None where the precision makes no promise."""
    argmax_agreement_limit: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One implementation in one case."""

    case: str
    implementation: str
    status: Status
    reason: str = ""
    """Why it was skipped or failed; empty if neither."""
    heat: int = 1
    """Rows are interleaved, and compared, with those of the same case and heat only."""
    check: Check | None = None
    load_seconds: float | None = None
    """From the files, in a fresh process, imports excluded."""
    first_seconds: float | None = None
    """The first call after loading."""
    samples: tuple[float, ...] = ()
    """Seconds of each call in the steady state, in the order taken."""
    summary: Summary | None = None
    amount: float = 0.0
    """What one call gets through, in the case's `unit`; 0 where there is no rate."""
    score: float | None = None
    """Of the result, worked out apart from the implementation, in nats: larger is better."""
    peak_memory: int | None = None
    """Bytes: the largest resident set of its process, mapped files included."""
    figures: dict[str, float] = field(default_factory=dict)
    """Other quantities, by the names that the case has for them."""
    series: str = ""
    """Rows of one series are joined in a plot of curves; empty for a point alone."""

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to show of it."""
        return self.summary is not None or bool(self.figures)


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity besides the times, as a case's rows have it in `Row.figures`."""

    name: str
    title: str
    kind: Literal["share", "ratio", "seconds", "number"]
    """How it is written: a share in per cent, a ratio and a number plain."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A plot of the points that two figures make."""

    x: str
    """Name of a figure."""
    y: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a group of rows measures."""

    name: str
    title: str
    timing: str
    """What the time contains and what it does not, in words."""
    unit: str = ""
    """Of the rate, e.g. `s of audio`."""
    each: str = ""
    """One of the unit, e.g. `frame`, where the time of one is shown; empty where it is not."""
    figures: tuple[Figure, ...] = ()
    """Quantities that its rows may have besides the times."""
    curves: tuple[Curve, ...] = ()
    """Drawn, side by side, in place of the bars."""
    baseline: str = ""
    """`case/implementation` or, within each case, `implementation` the ratios are taken to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole run."""

    schema: int
    suite: str
    created: str
    """UTC, ISO 8601."""
    git: str
    """Commit, with `-dirty` where the tree was changed; empty outside a repository."""
    command: str
    """What to type to measure it again; folders shortened to their last part."""
    machine: Machine
    versions: dict[str, str]
    model: Model
    settings: dict[str, str]
    """The options that decide what the numbers mean."""
    cases: tuple[Case, ...]
    rows: tuple[Row, ...]

    def find(self, case: str, implementation: str, *, heat: int | None = None) -> Row | None:
        """Return the row of an implementation in a case (of one heat), if it is there."""
        wanted = (case, implementation)
        found = (row for row in self.rows if (row.case, row.implementation) == wanted)
        return next((row for row in found if heat in (None, row.heat)), None)


def save(result: Result, path: Path) -> None:
    """Write a result as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def load(path: Path) -> Result:
    """Read a result file.

    Raises:
        BenchError: it is not one, or of another schema.
    """
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Version).schema
        if version != SCHEMA_VERSION:
            raise BenchError(
                f"{path} has schema {version}, this release reads {SCHEMA_VERSION}: measure again"
            )
        return msgspec.json.decode(content, type=Result)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BenchError(f"{path} is not a result of mms-bench: {error}") from error


@dataclass(frozen=True, slots=True)
class _Version:
    schema: int
