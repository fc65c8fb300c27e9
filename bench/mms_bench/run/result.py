"""Result file: one run of one suite on one machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import msgspec
import numpy as np

from mms_bench.errors import BenchError, NotMeasured
from mms_engine.formats.output import open_output

QUIET = 0.5
"""Load average above which other programs disturb the times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Order statistics of repeated timings, in seconds."""

    count: int
    median: float
    p10: float
    p90: float
    iqr: float


def summarise(samples: Sequence[float]) -> Summary:
    """Return order statistics of at least one sample, interpolated linearly."""
    if not samples:
        raise ValueError("there are no samples to summarise")
    p10, q1, median, q3, p90 = np.percentile(samples, (10, 25, 50, 75, 90)).tolist()
    return Summary(count=len(samples), median=median, p10=p10, p90=p90, iqr=q3 - q1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Hardware and operating system; cores and threads are those available to the process."""

    cpu: str
    cores: int
    threads: int
    features: tuple[str, ...]
    """Vector extensions that matter for matrix products."""
    memory: int
    """Bytes."""
    gpu: str
    """Name, or the reason why there is none."""
    cuda: str
    """CUDA release of the GPU's driver."""
    os: str
    python: str
    load_before: float
    """One-minute load average before the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Size of the measured checkpoint."""

    name: str
    parameters: int
    """Without those of languages."""
    languages: int
    full_size: bool
    """Whether it has the layers and widths of facebook/mms-1b-all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Difference between logits and the reference's on the timed audio."""

    max_abs_error: float
    argmax_agreement: float
    """Share of frames with the same most likely token, in [0, 1]."""
    frames: int
    max_abs_error_limit: float | None
    argmax_agreement_limit: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Figures of one implementation in one case."""

    case: str
    implementation: str
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str = ""
    """Reason for the status `skipped` or `failed`."""
    check: Check | None = None
    load_seconds: float | None = None
    """Loading time in a fresh process, imports excluded."""
    first_seconds: float | None = None
    """First call after loading."""
    samples: tuple[float, ...] = ()
    """Seconds of each later call, in the order taken."""
    summary: Summary | None = None
    amount: float = 0.0
    """Work of one call in the case's `unit`; 0 where there is no rate."""
    score: float | None = None
    """Natural-log probability of the result, computed independently; larger is better."""
    peak_memory: int | None = None
    """Largest resident set of the process in bytes, mapped files included."""
    figures: dict[str, float] = field(default_factory=dict)
    """Other quantities, by the names in the case's `figures`."""
    series: str = ""
    """Rows of one series are joined in a plot of curves; empty for a separate point."""

    @property
    def key(self) -> str:
        """Case and implementation, with a slash between them."""
        return f"{self.case}/{self.implementation}"

    @property
    def is_measured(self) -> bool:
        """Whether the row has any figures."""
        return self.summary is not None or bool(self.figures)

    def refused(self, reason: NotMeasured) -> Self:
        """Return this row without timings, for a reason."""
        return replace(self, status=reason.status, reason=str(reason))


@dataclass(frozen=True, slots=True)
class Figure:
    """Quantity other than time in `Row.figures`."""

    name: str
    title: str
    kind: Literal["share", "ratio", "seconds", "number"]
    interval: bool = False
    """Whether the figures NAME_low and NAME_high are the bounds of its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Plot of one figure over another, by their names."""

    x: str
    y: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Description of what a set of rows measures."""

    name: str
    title: str
    timing: str
    """Work that the time includes and excludes."""
    unit: str = ""
    """Unit of the rate, e.g. `s of audio`."""
    each: str = ""
    """Singular of the unit, e.g. `frame`, where the time per unit is shown."""
    figures: tuple[Figure, ...] = ()
    curves: tuple[Curve, ...] = ()
    """Plots that replace the bar chart."""
    bars: str = ""
    """Figure that the bars show instead of time."""
    groups: str = ""
    """Title of the column that `series` fill, by which the rows are grouped; empty for none."""
    baseline: str = ""
    """Denominator of the ratios: `case/implementation`, `case/`, or an implementation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole run."""

    schema: Literal[2]
    suite: str
    created: str
    """UTC, ISO 8601."""
    git: str
    """Commit, with `-dirty` for a modified tree; empty outside a repository."""
    command: str
    machine: Machine
    versions: dict[str, str]
    model: Model
    settings: dict[str, str]
    cases: tuple[Case, ...]
    rows: tuple[Row, ...]

    def find(self, key: str) -> Row | None:
        """Return the row of a case and an implementation."""
        return next((row for row in self.rows if row.key == key), None)

    def ratio(self, row: Row, baseline: str) -> float | None:
        """Return how many times faster `row` is than the row of a key."""
        other = self.find(baseline)
        if other is None or other.summary is None or row.summary is None:
            return None
        return other.summary.median / row.summary.median


def save(result: Result, path: Path) -> None:
    """Write a result as indented JSON."""
    content = msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"
    with open_output(path, binary=True) as stream:
        stream.write(content)


def load(path: Path) -> Result:
    """Read a result file; BenchError if it is none, or has another schema version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BenchError(f"{path} is not a result of this release of mms-bench: {error}") from error
