"""What can be measured, by name, one module a suite."""

from collections.abc import Callable
from dataclasses import dataclass

from mms_bench.errors import BenchError
from mms_bench.options import Context
from mms_bench.schema import Case, Row

Measure = Callable[[Context], list[Row]]


@dataclass(frozen=True, slots=True)
class Part:
    """One case, or a few that are measured together."""

    name: str
    """As it is asked for by `--cases`."""
    cases: tuple[Case, ...]
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases that belong in one result file."""

    name: str
    peers: tuple[str, ...]
    """Implementations it can measure; the first is the reference, which always takes part."""
    parts: tuple[Part, ...]
    min_samples: int
    """Calls of each implementation, unless the user says otherwise."""
    warmup: float
    """Seconds, likewise."""
    min_time: float = 10.0
    """Seconds of samples of each implementation, likewise."""
    languages: int | None
    """How many languages to take, unless they are named; None for all."""
    settings: tuple[str, ...]
    """Names of the settings that matter to it."""
    on_request: tuple[str, ...] = ()
    """Peers that `all` leaves out on a CPU."""
    on_cuda: tuple[str, ...] = ()
    """Peers that can run on a GPU; empty where nothing of the suite can."""

    def choose_peers(self, text: str, device: str = "cpu") -> tuple[str, ...]:
        """Read `all` or names separated by commas.

        Raises:
            BenchError: a name is unknown, or nothing of that name runs on the device.
        """
        if device == "cuda" and not self.on_cuda:
            raise BenchError(f"the suite {self.name} runs on CPUs only: leave out --device")
        if text == "all":
            left_out = self.on_request if device == "cpu" else set(self.peers) - set(self.on_cuda)
            return tuple(name for name in self.peers if name not in left_out)
        names = tuple(filter(None, map(str.strip, text.split(","))))
        for name in names:
            if name not in self.peers:
                known = ", ".join(self.peers)
                raise BenchError(f"there is no peer {name!r}; choose from {known}, or all")
            if device == "cuda" and name not in self.on_cuda:
                raise BenchError(f"{name} runs on CPUs only; choose from {', '.join(self.on_cuda)}")
        return tuple(dict.fromkeys((self.peers[0], *names)))

    def choose_parts(self, names: tuple[str, ...]) -> tuple[Part, ...]:
        """Return the parts called `names`, all without any.

        Raises:
            BenchError: a name is unknown.
        """
        known = {part.name: part for part in self.parts}
        for name in names:
            if name not in known:
                raise BenchError(
                    f"the suite {self.name} has no case {name!r}; choose from {', '.join(known)}"
                )
        return tuple(known[name] for name in names) or self.parts


def _asr() -> Suite:
    from mms_bench.suites.asr import SUITE

    return SUITE


def _export() -> Suite:
    from mms_bench.suites.export import SUITE

    return SUITE


def _ctc() -> Suite:
    from mms_bench.suites.ctc import SUITE

    return SUITE


def _stream() -> Suite:
    from mms_bench.suites.stream import SUITE

    return SUITE


SUITES: dict[str, Callable[[], Suite]] = {
    "asr": _asr,
    "ctc": _ctc,
    "export": _export,
    "stream": _stream,
}
