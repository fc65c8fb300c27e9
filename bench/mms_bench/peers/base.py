"""What an implementation has to offer to be measured."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from mms_bench.errors import NotHere
from mms_engine.types import BackendName, Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What to load, and on how many threads."""

    checkpoint: str
    """Folder in the layout of facebook/mms-1b-all."""
    bundle: str
    """Folder of a bundle exported from it; empty if there is none."""
    cache: str
    """Folder for files that a peer makes for itself."""
    languages: tuple[str, ...]
    """Those that may be asked for; the first is loaded by peers that hold only one."""
    threads: int
    """Threads of the matrix products."""
    device: Literal["cpu", "cuda"] = "cpu"
    """What the model runs on."""
    backend: BackendName | None = None
    """What the engine runs it with, `None` for its own choice."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What is recognised in one call."""

    audio: Float32Array
    """Shape `[B, N]`: 16 kHz, already brought to zero mean and unit variance, no padding."""
    languages: tuple[str, ...]
    """B codes."""


class Peer(Protocol):
    """An implementation. It is made and used in a process of its own."""

    name: str
    precision: str
    """Decides the tolerance of its check; final when `prepare` has returned."""

    def version(self) -> dict[str, str]:
        """Import what running needs, so that loading is timed without it; return versions.

        Raises:
            NotHere: something is not installed.
        """

    def build(self, setup: Setup) -> None:
        """Make the files that `prepare` loads, unless they are in the cache.

        Called in a process of its own before the measured one starts.

        Raises:
            NotHere: it cannot be built from this setup.
        """

    def prepare(self, setup: Setup) -> None:
        """Load the model; timed as loading."""

    def run(self, batch: Batch) -> list[Float32Array]:
        """Return logits `float32[T, V]` for each row of the batch.

        Raises:
            NotHere: it has no way to run such a batch.
        """


@runtime_checkable
class SwitchesLanguage(Protocol):
    """An implementation that can change language without loading the model again."""

    def switch(self, language: str, *, from_disk: bool) -> None:
        """Make `language` ready to run.

        Args:
            language: One of the setup's.
            from_disk: Whether its weights must be read again, or are held in memory already.

        Raises:
            NotHere: it has no such way.
        """


def single_language(batch: Batch) -> str:
    """Return the one language of the batch.

    Raises:
        NotHere: it has several.
    """
    first, *others = dict.fromkeys(batch.languages)
    if others:
        raise NotHere("holds one language at a time, a mixed batch cannot be run")
    return first
