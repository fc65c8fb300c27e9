"""Suites: cases that belong in one result file, and the options of their runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from mms_bench.errors import BenchError
from mms_bench.peers.base import Setup
from mms_bench.run.context import Context, RunOptions
from mms_bench.run.race import Pace
from mms_bench.run.result import Case, Row
from mms_engine.system import APPLICATION, demo_bundle
from mms_export.checkpoints.open import demo_checkpoint
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
    """Cases of one result file, with the defaults of their options; times in seconds."""

    name: str
    peers: tuple[str, ...]
    """Implementations; the first is the reference, which always takes part."""
    parts: tuple[Part, ...]
    min_samples: int
    warmup: float
    min_time: float = 10.0
    languages: int | None
    """Number of languages; `None` for all."""
    settings: tuple[str, ...]
    """Names of the settings that matter."""
    on_request: tuple[str, ...] = ()
    """Peers that `all` leaves out on a CPU."""
    on_cuda: tuple[str, ...] = ()
    """Peers that can run on a GPU; empty if the suite cannot."""

    def choose_peers(self, text: str, device: str = "cpu") -> tuple[str, ...]:
        """Return the peers of `all` or of comma-separated names; BenchError if one cannot run."""
        if device == "cuda" and not self.on_cuda:
            raise BenchError(f"the suite {self.name} runs on CPUs only: leave out --device")
        if text == "all":
            left_out = self.on_request if device == "cpu" else set(self.peers) - set(self.on_cuda)
            return tuple(name for name in self.peers if name not in left_out)
        for name in (names := _names(text)):
            if name not in self.peers:
                known = ", ".join(self.peers)
                raise BenchError(f"there is no peer {name!r}; choose from {known}, or all")
            if device == "cuda" and name not in self.on_cuda:
                raise BenchError(f"{name} runs on CPUs only; choose from {', '.join(self.on_cuda)}")
        return tuple(dict.fromkeys((self.peers[0], *names)))

    def choose_parts(self, names: tuple[str, ...]) -> tuple[Part, ...]:
        """Return the parts called `names`, or all; BenchError if a name is unknown."""
        known = {part.name: part for part in self.parts}
        for name in names:
            if name not in known:
                raise BenchError(
                    f"the suite {self.name} has no case {name!r}; choose from {', '.join(known)}"
                )
        return tuple(known[name] for name in names) or self.parts

    def options(self, given: dict[str, Any]) -> tuple[RunOptions, Setup]:
        """Return options from those of `mms-bench run` by name, `None` or empty if not given."""
        cold, demo = given["demo_bundle"] or demo_bundle(), demo_checkpoint()
        checkpoint, bundle = given["checkpoint"], given["bundle"]
        if checkpoint is None and bundle is not None:
            raise BenchError(
                "--bundle needs --checkpoint, the model it was exported from: "
                "transformers runs it, and the bundle is checked against it"
            )
        if checkpoint is None and cold.is_dir():
            bundle = cold
        pace = {
            name: getattr(self, name) if given[name] is None else given[name]
            for name in ("warmup", "min_time", "min_samples")
        }
        options = RunOptions(
            peers=self.choose_peers(given["peers"], given["device"]),
            model="demo" if checkpoint is None else checkpoint.resolve().name,
            demo_bundle=cold,
            audio=given["audio"] or (SPEECH,),
            recordings=given["recordings"] or demo.with_name("clips") / "clips.tsv",
            cases=_names(given["cases"]),
            pace=Pace(**pace, seed=given["seed"]),
            **{name: given[name] for name in ("seconds", "batch")},
        )
        setup = Setup(
            checkpoint=(checkpoint or demo).resolve(),
            bundle=bundle and bundle.resolve(),
            cache=Path(platformdirs.user_cache_dir(APPLICATION)) / "bench",
            languages=_names(given["languages"]),
            **{name: given[name] for name in ("threads", "device", "backend")},
        )
        return options, setup


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
