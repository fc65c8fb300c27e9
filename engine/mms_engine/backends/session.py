"""Session protocol of the backends, and the dtypes of graph tensors in NumPy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mms_engine.bundle.manifest import Graph, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Array that many runs share, of which a backend may keep a copy on its device."""

    array: Array
    """C-contiguous; a CPU backend reads it in place."""
    dtype: str
    """As `Tensor.dtype`; `bfloat16` where `array` holds its bits as uint16."""
    versions: npt.NDArray[np.int64]
    """Version of each row of the first axis; grows when the row changes."""


@dataclass(frozen=True, slots=True, eq=False)
class GraphFile:
    """A graph and the path of its file."""

    graph: Graph
    path: Path
    content: bytes | None = None
    """Model to load instead of the file's; its external data still lies beside the file."""
    is_packed: bool = False
    """Whether the file is a copy for this processor, to be loaded as it is; see `packed`."""
    after_run: Callable[[], None] | None = None
    """Function to call behind the first run."""


class Session(Protocol):
    """Loaded graph. `run` may be called from several threads at once."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs of `run`."""
        ...

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Outputs of `run`."""
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
            Every output in host memory; it may be read-only.

        Raises:
            BackendError: the graph does not accept the feeds, or the device failed.
        """
        ...

    def close(self) -> None:
        """Free the graph and its device memory; `run` raises BackendError afterwards."""
        ...


def storage_dtype(dtype: str) -> "np.dtype[Any]":
    """Return the NumPy dtype that stores a dtype of a graph; bfloat16 is stored as its bits."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def convert(array: Array, dtype: str) -> Array:
    """Return values in the storage of a dtype; assignment converts between NumPy's floats."""
    if dtype != "bfloat16":
        return array
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    # Round to nearest, ties to even: the cut-off half carries over when it exceeds one half.
    carry = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + carry) >> np.uint32(16)).astype(np.uint16)


def minus_infinity(dtype: str) -> float | int:
    """Return -inf in the storage of a floating-point dtype."""
    return 0xFF80 if dtype == "bfloat16" else -np.inf
