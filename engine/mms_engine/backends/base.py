"""The interface every backend implements."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from mms_engine.bundle.schema import Graph, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """An array that many runs take unchanged, so that a backend may keep it on its device."""

    array: Array
    """C-contiguous. Read in place by a CPU backend: never copied."""
    dtype: str
    """As `Tensor.dtype`; `bfloat16` where `array` holds its bits as uint16."""
    version: int
    """Changes when the content changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a graph is run."""

    threads: int = 0
    """Threads of one run on a CPU; 0 for every core this process may use."""


@dataclass(frozen=True, slots=True, eq=False)
class GraphFile:
    """A graph and where it lies."""

    graph: Graph
    path: Path


class Session(Protocol):
    """A graph that is ready to run. `run` may be called from several threads at once."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What `run` gives."""
        ...

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        ...

    def run(self, feeds: Mapping[str, Array | Constant]) -> dict[str, Array]:
        """Run the graph once.

        Args:
            feeds: A C-contiguous array of the stated dtype for every input.

        Returns:
            Every output in host memory, perhaps read-only.

        Raises:
            BackendError: the graph does not accept the feeds, or the device failed.
        """
        ...

    def close(self) -> None:
        """Free the device's memory. The session cannot run any more."""
        ...
