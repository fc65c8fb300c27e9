"""Suites: cases that belong in one result file, and the options of their runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mms_bench.errors import BenchError
from mms_bench.peers import PEERS, PeerEntry
from mms_bench.run.context import Context, CorpusOptions, RunOptions
from mms_bench.run.race import Pace
from mms_bench.run.result import Case, Row
from mms_bench.run.subject import Subject, recognition_subject
from mms_engine.system import cache_folder, demo_bundle
from mms_export.checkpoints.open import DEMO, demo_checkpoint
from mms_export.parity import SPEECH


@dataclass(frozen=True, slots=True)
class Part:
    """One case, or a few that are measured together."""

    name: str
    """Name for `--cases`."""
    cases: tuple[Case, ...]
    measure: Callable[[Context], list[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases of one result file, with the defaults of their options."""

    name: str
    peers: tuple[str, ...]
    """Implementations; the first is the reference, which always takes part."""
    parts: tuple[Part, ...]
    pace: Pace
    languages: int | None
    """Number of languages; `None` for all."""
    on_request: tuple[str, ...] = ()
    """Peers that `all` leaves out on a CPU."""
    on_cuda: tuple[str, ...] = ()
    """Peers that can run on a GPU; empty if the suite cannot."""
    table: Mapping[str, PeerEntry] = field(default_factory=lambda: PEERS)
    """Implementations by name."""
    demo: str = DEMO
    """Model of the demo that is measured by default."""
    subject: Callable[[RunOptions, int | None], Subject] = recognition_subject
    """Returns the model of the options, and at most so many of its languages."""

    def choose_peers(self, text: str, device: str = "cpu") -> tuple[str, ...]:
        """Return the peers of `all` or of comma-separated names; BenchError if one cannot run."""
        runnable = self.peers if device == "cpu" else self.on_cuda
        if not runnable:
            raise BenchError(f"the suite {self.name} runs on CPUs only: leave out --device")
        if text == "all":
            left_out = self.on_request if device == "cpu" else ()
            return tuple(name for name in runnable if name not in left_out)
        names = _names(text)
        _check(names, runnable, f"the suite {self.name} has no peer {{!r}} on {device}")
        return tuple(dict.fromkeys((self.peers[0], *names)))

    def choose_parts(self, names: tuple[str, ...]) -> tuple[Part, ...]:
        """Return the parts called `names`, or all; BenchError if a name is unknown."""
        known = {part.name: part for part in self.parts}
        _check(names, known, f"the suite {self.name} has no case {{!r}}")
        return tuple(known[name] for name in names) or self.parts

    def options(self, given: dict[str, Any]) -> RunOptions:
        """Return options from those of `mms-bench run` by name, `None` or empty if not given."""
        checkpoint, bundle, demo = given["checkpoint"], given["bundle"], demo_checkpoint(self.demo)
        if checkpoint is None and bundle is None and demo_bundle(self.demo).is_dir():
            bundle = demo_bundle(self.demo)
        paces = ("warmup", "min_time", "min_samples", "seed")
        pace = {name: given[name] for name in paces if given[name] is not None}
        corpus = {name: given[name] for name in ("data", "split", "limit", "lm", "resume")}
        return RunOptions(
            checkpoint=(checkpoint or demo).resolve(),
            bundle=bundle and bundle.resolve(),
            cache=cache_folder() / "bench",
            peers=self.choose_peers(given["peers"], given["device"]),
            cases=_names(given["cases"]),
            languages=_names(given["languages"]),
            audio=given["audio"] or (SPEECH,),
            recordings=given["recordings"] or demo_checkpoint().with_name("clips") / "clips.tsv",
            identifier=given["identifier"],
            text=given["text"],
            pace=replace(self.pace, **pace),
            corpus=CorpusOptions(models=_paths(given["models"]), **corpus),
            whisper=given["whisper"],
            **{name: given[name] for name in ("seconds", "batch", "threads", "device", "backend")},
        )


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(name).resolve() for name in _names(text))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def _check(names: Iterable[str], known: Iterable[str], refusal: str) -> None:
    for name in names:
        if name not in known:
            raise BenchError(f"{refusal.format(name)}; choose from {', '.join(known)}")
