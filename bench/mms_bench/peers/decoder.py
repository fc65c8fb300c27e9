"""What a CTC decoder or aligner has to offer to be measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mms_bench.ctc.task import Task

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ready:
    """A task whose inputs are in memory, in the form the decoder wants."""

    call: Callable[[], Any]
    """What is timed."""
    labels: Callable[[Any], Sequence[Labels]]
    """Turns what `call` returned into labels, an array for each row: the best labelling or, of an
    aligner, the label of each frame. Not timed."""
    before: Callable[[], None] | None = None
    """Brings about the state each call begins in; not timed."""


@runtime_checkable
class Decoder(Protocol):
    """An implementation. It is made and used in a process of its own."""

    name: str

    def version(self) -> dict[str, str]:
        """Import what running needs and return versions.

        Raises:
            NotHere: something is not installed.
        """

    def ready(self, task: Task) -> Ready:
        """Load what the task needs.

        Raises:
            NotHere: it has no way to do such a task.
        """


def load_emission(task: Task) -> npt.NDArray[np.float32]:
    """Return the natural-log probabilities `float32[B, T, V]`."""
    emission: npt.NDArray[np.float32] = np.load(task.emission)
    return emission
