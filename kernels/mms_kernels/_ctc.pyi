"""CTC kernels in C++; mms_kernels is their public face."""

from typing import Annotated

import numpy
from numpy.typing import NDArray


def isas() -> list[str]:
    """Instruction sets that this build has and this machine can run."""

def isa() -> str:
    """The one in use."""

def use_isa(name: str) -> None:
    """Use another one from now on."""

def align_batch(logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], targets: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], target_lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], *, log_probs: bool, blank: int, star: int | None, star_score: float, max_bytes: int, band: int, threads: int) -> list[tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], float]]:
    """
    Align each row: starts, ends and scores of its tokens, and the score of the path.
    """

def align_levels(frames: int, tokens: int, columns: int, vocab: int, max_bytes: int) -> list[int]:
    """
    Frames between saved rows at each level of the search within the bound.
    """

def greedy_batch(logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], blank: int, threads: int) -> list[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]]:
    """Decode each row: ids, starts, ends, scores and peaks of its tokens."""

class GreedyStream:
    """Greedy decoding of frames that arrive in pieces."""

    def __init__(self, blank: int) -> None: ...

    def step(self, logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> None:
        """Read frames."""

    def tokens(self) -> tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]:
        """Return all tokens so far, the open one among them."""

    def reset(self) -> None:
        """Start over."""

    def copy(self) -> GreedyStream:
        """Fork."""

    @property
    def frames(self) -> int:
        """Frames read."""
