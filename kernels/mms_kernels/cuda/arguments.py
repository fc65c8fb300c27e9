"""The structs that the CUDA kernels take, as in kernels/csrc/include/mms/cuda.h.

Pointers are device addresses; arrays on the device have the dtypes below.
"""

import ctypes
from enum import IntEnum

import numpy as np


class Code(IntEnum):
    """What a kernel found wrong with a stream, in its `STATUS`; the stream is then as it was."""

    OK = 0
    NAN = 1
    """A frame holds NaN."""
    INFINITE = 2
    """A frame holds +inf."""
    EMPTY = 3
    """A frame is -inf for every token."""
    LENGTH = 4
    """The length is not in [0, frames]."""
    CAPACITY = 5
    """The output or the arena has no room."""
    TARGET = 6
    """A target is not a token, or is the blank; or their number is out of range."""
    INFEASIBLE = 7
    """The frames are too few for the targets."""
    IMPOSSIBLE = 8
    """Every path has probability 0."""


STATUS = np.dtype([("code", "i4"), ("unused", "i4"), ("frame", "i8")])
FRAME = np.dtype([("best", "i4"), ("code", "i4"), ("score", "f4"), ("offset", "f4")])
GREEDY_STREAM = np.dtype(
    [
        ("open", "i4"),
        ("unused", "i4"),
        ("frame", "i8"),
        ("start", "i8"),
        ("sum", "f8"),
        ("peak", "f8"),
    ]
)
"""`open` is the blank at first, the rest 0."""

_P = ctypes.c_void_p
_I32 = ctypes.c_int32
_I64 = ctypes.c_int64


class ScoresBatch(ctypes.Structure):
    """Argument of mms_frames, and part of others."""

    _fields_ = [
        ("data", _P),
        ("rows", _I64),
        ("frames", _I64),
        ("vocab", _I64),
        ("lengths", _P),
        ("dtype", ctypes.c_uint8),
        ("kind", ctypes.c_uint8),
    ]


class GreedyArgs(ctypes.Structure):
    """Argument of mms_greedy."""

    _fields_ = [
        ("frames", _P),
        ("lengths", _P),
        ("frame_stride", _I64),
        ("streams", _P),
        ("status", _P),
        ("counts", _P),
        ("ids", _P),
        ("starts", _P),
        ("ends", _P),
        ("scores", _P),
        ("peaks", _P),
        ("capacity", _I64),
        ("blank", _I32),
        ("finish", _I32),
    ]


class AlignArgs(ctypes.Structure):
    """Argument of mms_align."""

    _fields_ = [
        ("scores", ScoresBatch),
        ("frames", _P),
        ("targets", _P),
        ("target_lengths", _P),
        ("target_stride", _I64),
        ("bits", _P),
        ("bits_stride", _I64),
        ("cells", _P),
        ("starts", _P),
        ("ends", _P),
        ("token_scores", _P),
        ("path_scores", _P),
        ("status", _P),
        ("blank", _I32),
        ("has_star", _I32),
        ("star", _I32),
        ("star_score", ctypes.c_float),
    ]


def align_bits(frames: int, targets: int) -> int:
    """Return the uint32 words of back-pointers that mms_align needs for an utterance."""
    return frames * 3 * (targets // 32 + 1)


def align_shared_bytes(targets: int) -> int:
    """Return the dynamic shared memory of mms_align where `cells` is null."""
    return 32 * (targets + 1)
