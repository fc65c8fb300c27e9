"""What a run is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mms_bench.peers.base import Setup
from mms_bench.race import Pace
from mms_bench.remote import Worker
from mms_engine.types import BackendName

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of `mms-bench run`, with defaults filled in."""

    peers: tuple[str, ...]
    """Names of implementations, the reference first."""
    checkpoint: Path
    """Folder in the layout of facebook/mms-1b-all."""
    model: str
    """What the report calls it."""
    bundle: Path | None
    """The bundle of this checkpoint, or None: ours is then skipped."""
    demo_bundle: Path
    """The bundle of which a cold process is timed."""
    audio: tuple[Path, ...]
    """Speech to measure on."""
    recordings: Path
    """A list of recordings with what is said in them, for the streams."""
    seconds: float = 10.0
    """Length of a clip."""
    threads: int = 2
    device: Literal["cpu", "cuda"] = "cpu"
    backend: BackendName | None = None
    """What the engine runs on it with; `None` for its own choice."""
    batch: int = 8
    """Rows of the batch case."""
    languages: tuple[str, ...] = ()
    """Codes; those of the checkpoint, in alphabetical order, where there are none."""
    cases: tuple[str, ...] = ()
    """Names of the cases to run; all of the suite's where there are none."""
    cache: Path
    """Folder for what peers build for themselves."""
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Context:
    """What the measuring functions of a suite share."""

    options: RunOptions
    setup: Setup
    """What the workers load."""
    folder: Path
    """Scratch, removed after the run."""
    tell: Tell
    """Takes a line of progress."""
    versions: dict[str, str]
    """Filled with what the peers report."""
    worker: Callable[[str, Setup], Worker] = Worker
    """Starts a peer."""
