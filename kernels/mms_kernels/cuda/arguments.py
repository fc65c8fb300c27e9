"""Argument structs and element dtypes of the CUDA kernels, as in kernels/csrc/include/mms/cuda.h.

Pointers are device addresses.
"""

import ctypes
from enum import IntEnum

import numpy as np


class Code(IntEnum):
    """Fault of a stream, reported in its `STATUS`; the stream is then unchanged."""

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
    """The output or the arena is too small."""
    TARGET = 6
    """A target is invalid or the blank, or the number of targets is out of range."""
    INFEASIBLE = 7
    """Too few frames for the targets."""
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
"""Initially `open` is the blank and the rest is 0."""

_P = ctypes.c_void_p
_I32 = ctypes.c_int32
_I64 = ctypes.c_int64
_U32 = ctypes.c_uint32


class Address(ctypes.Structure):
    """Pointer argument: the second of mms_frames."""

    _fields_ = [("address", _P)]


class ScoresBatch(ctypes.Structure):
    """Argument of mms_frames, and part of other arguments."""

    _fields_ = [
        ("data", _P),
        ("rows", _I64),
        ("frames", _I64),
        ("vocab", _I64),
        ("lengths", _P),
        ("dtype", ctypes.c_uint8),
        ("kind", ctypes.c_uint8),
        ("begins", _P),
    ]


class GreedyArgs(ctypes.Structure):
    """Argument of mms_greedy."""

    _fields_ = [
        ("frames", _P),
        ("lengths", _P),
        ("frame_stride", _I64),
        ("slots", _P),
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


BEAM_CHOICE = np.dtype([("token", "i4"), ("log_prob", "f4")])
BEAM_NODE = np.dtype([("parent", "i4"), ("token", "i4"), ("sibling", "i4")])
BEAM_SPAN = np.dtype(
    [
        ("start", "i8"),
        ("end", "i8"),
        ("parent", "i4"),
        ("score", "f4"),
        ("peak", "f4"),
        ("unused", "i4"),
    ]
)
BEAM_STREAM = np.dtype(
    [
        *[(name, "i4") for name in ("used", "nodes", "spans", "kept")],
        ("frame", "i8"),
        ("settled", "i8"),
    ]
)
BEAM_ENTRY_BYTES = 128
MAX_BEAM = 128


class HotwordsView(ctypes.Structure):
    """Part of `BeamScoring`; see mms/hotwords.h."""

    _fields_ = [
        ("nodes", _P),
        ("rows", _P),
        ("pages", _P),
        *[(name, _U32) for name in ("node_count", "row_count", "page_count", "pages_per_row")],
        ("page_bits", _U32),
        ("boundary", _I32),
        ("start", _U32),
    ]


class LmView(ctypes.Structure):
    """Part of `BeamScoring`; see mms/ngram.h."""

    _fields_ = [
        ("unigrams", _P),
        ("states", _P),
        ("arcs", _P),
        *[(name, _U32) for name in ("vocab", "state_count", "arc_count", "start")],
        ("unknown", _U32),
        ("end", _U32),
    ]


class WordsView(ctypes.Structure):
    """Part of `BeamScoring`; see mms/ngram.h."""

    _fields_ = [("slots", _P), ("offsets", _P), ("text", _P), ("slot_count", ctypes.c_uint64)]


class BeamScoring(ctypes.Structure):
    """Language model and hotwords of a beam stream; all zeros for none."""

    _fields_ = [
        ("hotwords", HotwordsView),
        ("lm", LmView),
        ("words", WordsView),
        ("units", _P),
        ("text_offsets", _P),
        ("text", _P),
        ("lm_weight", ctypes.c_double),
        ("word_score", ctypes.c_double),
        ("max_gain", ctypes.c_double),
        ("has_hotwords", _I32),
        ("has_lm", _I32),
        ("separator", _I32),
        ("scores_words", _I32),
        ("longest_word", _I32),
        ("unused", _I32),
    ]


class TokenArrays(ctypes.Structure):
    """Part of `BeamArgs` and `BeamOutput`: tokens with their frames."""

    _fields_ = [
        *[(name, _P) for name in ("ids", "starts", "ends", "scores", "peaks")],
        ("capacity", _I64),
    ]


class BeamArgs(ctypes.Structure):
    """Argument of mms_beam_begin, _tokens, _step and _results."""

    _fields_ = [
        ("scores", ScoresBatch),
        ("frames", _P),
        ("choices", _P),
        ("choice_count", _I64),
        *[(name, _P) for name in ("slots", "scorings", "streams", "entries")],
        *[(name, _P) for name in ("nodes", "heads", "spans", "marks")],
        ("arena", _I64),
        ("settled", TokenArrays),
        ("settled_counts", _P),
        ("status", _P),
        ("lookback", _I64),
        ("beam_size", _I32),
        ("blank", _I32),
        ("token_min_logp", ctypes.c_double),
    ]


class BeamOutput(ctypes.Structure):
    """Second argument of mms_beam_results."""

    _fields_ = [
        ("tokens", TokenArrays),
        *[(name, _P) for name in ("counts", "stable", "log_probs")],
        *[(name, _P) for name in ("lm_scores", "bonuses", "scores")],
        ("nbest", _I32),
        ("finish", _I32),
    ]


def beam_threads(beam_size: int) -> int:
    """Return the block size of mms_beam_step and mms_beam_results."""
    return -(-beam_size // 32) * 32


def beam_step_shared_bytes(beam_size: int, threads: int) -> int:
    """Return the dynamic shared memory of mms_beam_step in blocks of `threads`, in bytes."""
    return 224 * beam_size + 96 * threads + 8 * (2 * beam_size + 2)


def beam_exact_choices(beam_size: int, vocab: int) -> int:
    """Return the choices per frame for which a beam without models is exact."""
    return max(1, min(2 * beam_size + 2, vocab - 1))


def beam_least_arena(beam_size: int, longest_word: int = 0) -> int:
    """Return the minimum capacity for prefixes and spans."""
    return 64 * beam_size + longest_word + 4


def align_bits(frames: int, targets: int) -> int:
    """Return the uint32 words of back-pointers of mms_align for an utterance."""
    return frames * 3 * (targets // 32 + 1)


def align_shared_bytes(targets: int) -> int:
    """Return the dynamic shared memory of mms_align if `cells` is null, in bytes."""
    return 32 * (targets + 1)
