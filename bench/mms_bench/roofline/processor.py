"""The model held against a measurement: this processor's own peaks, and the graphs' own times."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mms_bench.errors import BenchError
from mms_bench.race import Lap, Pace, race
from mms_bench.roofline.hardware import Hardware
from mms_bench.roofline.model import bound, seconds
from mms_bench.roofline.probes import Probe, probes
from mms_bench.roofline.work import ELEMENTS, ENCODER, FRONTEND, Load, blocks
from mms_engine.backends.registry import available, choose, open_session
from mms_engine.backends.session import Array, Constant, GraphFile, Session, SessionOptions
from mms_engine.bank.adapters import BankOptions, adapter_bank
from mms_engine.bank.host import HostBank
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What to measure."""

    bundle: Path
    precision: Precision = "fp32"
    seconds: float = 10.0
    """Of audio in one run."""
    threads: int = 2
    pace: Pace = field(default_factory=lambda: Pace(warmup=0.5, min_time=8.0, min_samples=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """This processor's peaks, each the median of the calls in one race."""

    products: dict[str, float]
    """Operations a second, by precision."""
    elements: dict[str, float]
    """Elements a second, by operation."""
    bandwidth: float
    """Bytes a second: copying, read and written."""
    cache: float
    """Bytes of the last level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One graph: predicted and measured."""

    graph: str
    predicted: float
    """Seconds, from the rates."""
    by_limit: dict[str, float]
    """Seconds of the prediction by what they are spent on."""
    measured: float
    """Seconds of processor time a thread, median of the runs."""
    best_wall: float
    """Seconds by the clock of the fastest run."""

    @property
    def ratio(self) -> float:
        """How many times longer than predicted a run took."""
        return self.measured / self.predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One bundle's graphs of one precision on this processor."""

    model: str
    precision: Precision
    seconds: float
    threads: int
    rates: Rates
    comparisons: tuple[Comparison, ...]


def measurable(path: Path) -> tuple[Precision, ...]:
    """Return the precisions of a bundle that a CPU computes in.

    Raises:
        BenchError: it has none of them.
    """
    bundle = open_bundle(path, verify=False)
    found = tuple(name for name in _PRECISIONS if name in bundle.precisions)
    if not found:
        there = ", ".join(bundle.precisions)
        raise BenchError(f"{path} has no graphs for a CPU (fp32, int8), only {there}")
    return found


def measure(trial: Trial, tell: Callable[[str], None] = lambda _: None) -> Measured:
    """Time peaks and graphs in turns, and hold the model's prediction against the graphs.

    Raises:
        BundleError: the bundle cannot be read, or lacks the precision.
    """
    bundle = open_bundle(trial.bundle)
    runs = _runs(bundle, trial)
    runners = [*probes(trial.threads), *(run.probe for run in runs)]
    laps = race(runners, trial.pace, tell)
    rates = _rates(runners, laps)
    return Measured(
        model=bundle.manifest.source.name,
        precision=trial.precision,
        seconds=trial.seconds,
        threads=trial.threads,
        rates=rates,
        comparisons=tuple(_compare(bundle, run, rates, laps[run.probe.name]) for run in runs),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    graph: str
    load: Load
    probe: Probe


def _runs(bundle: Bundle, trial: Trial) -> list[_Run]:
    architecture = bundle.model(Wav2Vec2Ctc)
    geometry = FrameGeometry.of(architecture)
    frames = geometry.frames(round(trial.seconds * bundle.manifest.sample_rate))
    random = np.random.default_rng(0)
    audio = random.standard_normal((1, geometry.samples(frames)), dtype=np.float32)
    frontend, encoder = (_open(bundle, stage, trial) for stage in _STAGES)
    feeds: dict[str, Array | Constant] = {
        "features": frontend.run({"audio": audio})["features"],
        "lengths": np.array([frames]),
        "slot": np.array([0]),
        **_bank(bundle, trial.precision),
    }
    vocab = bundle.entry(bundle.languages[0]).vocab_size
    load = Load(rows=1, frames=frames, vocab=vocab, precision=trial.precision)
    return [
        _run("frontend", load, frontend, {"audio": audio}, trial),
        _run("encoder", load, encoder, feeds, trial),
    ]


_STAGES: tuple[str, str] = ("frontend", "encoder")


def _run(
    stage: str,
    load: Load,
    session: Session,
    feeds: Mapping[str, Array | Constant],
    trial: Trial,
) -> _Run:
    name = f"{load.precision} {stage}"
    return _Run(
        stage,
        load,
        Probe(name=name, amount=1.0, threads=trial.threads, call=lambda: session.run(feeds)),
    )


def _open(bundle: Bundle, stage: str, trial: Trial) -> Session:
    graph, path = bundle.graph(stage, trial.precision)
    options = SessionOptions(threads=trial.threads)
    return open_session(choose("cpu", available()), GraphFile(graph, path), options)


def _bank(bundle: Bundle, precision: Precision) -> dict[str, Constant]:
    """Return the encoder's inputs that hold the bundle's first language."""
    architecture = bundle.model(Wav2Vec2Ctc)
    graph, _ = bundle.graph("encoder", precision)
    options = BankOptions(
        adapter_parameters=architecture.adapter_parameters,
        hidden_size=architecture.hidden_size,
        dtype=next(tensor.dtype for tensor in graph.inputs if tensor.name == "adapters"),
        slots=1,
    )
    bank = adapter_bank(bundle.adapter, options, HostBank(options))
    with bank.acquire(bundle.languages[:1]):
        return bank.storage.constants()


def _rates(runners: Sequence[Probe], laps: Mapping[str, Lap]) -> Rates:
    best = {
        runner.name: runner.amount / float(np.median(laps[runner.name].samples))
        for runner in runners
        if laps[runner.name].samples
    }
    return Rates(
        products={name: best[name] for name in _PRECISIONS},
        elements={name: best[name] for name in ELEMENTS},
        bandwidth=best["bandwidth"],
        cache=last_level_cache(),
    )


def _compare(bundle: Bundle, run: _Run, rates: Rates, lap: Lap) -> Comparison:
    hardware = Hardware(
        products={name: rates.products[name] for name in _PRECISIONS},
        elements={name: rates.elements[name] for name in ELEMENTS},
        bandwidth=rates.bandwidth,
        cache=rates.cache,
        fuses=False,
    )
    stages = FRONTEND if run.graph == "frontend" else ENCODER
    work = [block for block in blocks(bundle.model(Wav2Vec2Ctc), run.load) if block.stage in stages]
    costs = bound(work, run.load, hardware)
    return Comparison(
        graph=run.graph,
        predicted=seconds(costs),
        by_limit={
            name: sum(getattr(cost, name) for cost in costs.values())
            for name in ("products", "elements", "bandwidth")
        },
        measured=float(np.median(lap.samples)),
        best_wall=min(run.probe.walls),
    )


def last_level_cache() -> float:
    """Return the bytes of the processor's last cache, 0 where the system does not say."""
    sizes = [0.0]
    for file in _CACHES.glob("index*/size"):
        text = file.read_text(encoding="ascii").strip()
        unit = {"K": 1024, "M": 1024**2}.get(text[-1:], 1)
        sizes.append(float(text.rstrip("KM")) * unit)
    return max(sizes)
