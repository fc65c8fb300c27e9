"""CTC kernels in C++; use mms_kernels instead."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def isas() -> list[str]:
    """Return the usable instruction sets, slowest first."""

def isa() -> str:
    """Return the current instruction set."""

def use_isa(name: str) -> None:
    """Select an instruction set."""

def align_batch(logits: Annotated[NDArray, dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], targets: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], target_lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], *, kind: str, blank: int, star: int | None, star_score: float, max_bytes: int, band: int, threads: int) -> list[tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], float]]:
    """
    Return starts, ends and scores of tokens, and the path score, for each row.
    """

def greedy_batch(scores: Annotated[NDArray, dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], blank: int, kind: str, threads: int) -> list[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]]:
    """Return ids, starts, ends, scores and peaks of the tokens of each row."""

class GreedyStream:
    """Greedy decoding of one utterance in chunks."""

    def __init__(self, blank: int, kind: str) -> None: ...

    def step(self, scores: Annotated[NDArray, dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> None:
        """Read frames."""

    def tokens(self) -> tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]:
        """Return all tokens so far, including the open one."""

    def reset(self) -> None:
        """Reset the stream."""

    def copy(self) -> GreedyStream:
        """Return a copy."""

    @property
    def frames(self) -> int:
        """Frames read."""

class BeamDecoder:
    """Options and models of a prefix beam search."""

    def __init__(self, beam_size: int, blank: int, token_min_logp: float, beam_threshold: float, blank_skip: float, lookback: int, lm_weight: float, word_score: float, unit: str, separator: int, tokens: Sequence[str], lm: object | None, hotwords: object | None) -> None: ...

    def decode(self, scores: Annotated[NDArray, dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], kind: str, nbest: int, threads: int) -> list[list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float, float]]]:
        """Return the best hypotheses of each row."""

class BeamStream:
    """Prefix beam search over one utterance in chunks."""

    def __init__(self, decoder: object, hotwords: object | None) -> None: ...

    def step(self, scores: Annotated[NDArray, dict(shape=(None, None), order='C', device='cpu', writable=False)], kind: str) -> None:
        """Read frames."""

    def partial(self, nbest: int) -> tuple[list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float, float]], int]:
        """Return the best hypotheses so far and the number of stable tokens."""

    def results(self, nbest: int) -> list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float, float]]:
        """Return the best hypotheses at the end."""

    def take_stable(self) -> tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]:
        """Remove and return the stable tokens."""

    def reset(self) -> None:
        """Reset the stream."""

    def copy(self) -> BeamStream:
        """Return a copy."""

    @property
    def frames(self) -> int:
        """Frames read."""

    @property
    def live(self) -> int:
        """Prefixes and spans in memory."""

class Hotwords:
    """Hotword automaton over tokens."""

    def __init__(self, phrases: Sequence[Sequence[int]], weights: Sequence[float], vocab: int, boundary: int) -> None: ...

    @property
    def start(self) -> int:
        """State before the first token."""

    def step(self, state: int, token: int) -> tuple[int, float]:
        """Return the next state and the bonus."""

    def finish(self, state: int) -> float:
        """Return the bonus of the end of the stream."""

    def score(self, tokens: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> float:
        """Return the sum of all bonuses."""

    @property
    def max_bonus(self) -> float:
        """Greatest bonus of a step."""

    @property
    def vocab(self) -> int:
        """Vocabulary size."""

    @property
    def nbytes(self) -> int:
        """Size in memory in bytes."""

class LanguageModel:
    """Language model."""

    @property
    def start(self) -> int:
        """State after <s>; 0 is the empty context."""

    def unit(self, text: str) -> int:
        """Return the unit of a text, that of <unk> if unknown."""

    def knows(self, text: str) -> bool:
        """Return whether a text is a known unit."""

    def score(self, state: int, unit: int) -> tuple[float, int]:
        """Return log10 P and the next state."""

    def finish(self, state: int) -> float:
        """Return log10 P(</s>)."""

    def total(self, words: Sequence[str], bos: bool, eos: bool) -> float:
        """Return log10 P of a sentence."""

class NgramModel(LanguageModel):
    """N-gram model in the compact format."""

    def __init__(self, file: int) -> None: ...

    def score(self, state: int, unit: int) -> tuple[float, int]:
        """Return log10 P and the next state."""

    def finish(self, state: int) -> float:
        """Return log10 P(</s>)."""

    def words(self) -> bytes:
        """Return the words by unit, each followed by LF."""

    def renamed(self, words: bytes) -> NgramImage:
        """
        Return the model with other words, each followed by LF; equal n-grams are merged.
        """

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""

    @property
    def vocab(self) -> int:
        """Vocabulary size."""

    @property
    def states(self) -> int:
        """Number of states."""

    @property
    def ngrams(self) -> int:
        """Number of n-grams of all orders."""

    @property
    def nbytes(self) -> int:
        """File size in bytes."""

class KenlmModel(LanguageModel):
    """Model of the package kenlm."""

    def __init__(self, model: object, state_class: object) -> None: ...

    def alias(self, text: str, word: str) -> None:
        """Let a text stand for a word of the model."""

class NgramImage:
    """Content of a compact file."""

    def pieces(self) -> list[Annotated[NDArray[numpy.uint8], dict(shape=(None,), writable=False)]]:
        """Return the content in pieces."""

    @property
    def dropped(self) -> int:
        """Entries of n-grams given several times that do not count."""

class ArpaReader:
    """Conversion of ARPA text to the compact format."""

    def __init__(self) -> None: ...

    def read(self, text: bytes) -> None:
        """Read the next piece of text."""

    def finish(self) -> NgramImage:
        """Return the model and reset the reader."""

class Lexicon:
    """Trie of the spellings of words."""

    def __init__(self, tokens: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], words: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

class LexiconDecoder:
    """Options and models of a search over a lexicon."""

    def __init__(self, beam_size: int, blank: int, separator: int, beam_threshold: float, lm_weight: float, word_score: float, sum_paths: bool, open_end: bool, lexicon: object, lm: object | None, words: Sequence[str]) -> None: ...

class LexiconStream:
    """Search over a lexicon for one utterance in chunks."""

    def __init__(self, decoder: object) -> None: ...

    def step(self, scores: Annotated[NDArray, dict(shape=(None, None), order='C', device='cpu', writable=False)], kind: str) -> None:
        """Read frames."""

    def partial(self) -> tuple[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float], int]:
        """Return the best hypothesis so far and the number of stable words."""

    def results(self, nbest: int) -> list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float]]:
        """Return the best hypotheses at the end."""

    def reset(self) -> None:
        """Reset the stream."""

    def copy(self) -> LexiconStream:
        """Return a copy."""

    @property
    def frames(self) -> int:
        """Frames read."""

    @property
    def live(self) -> int:
        """Word sequences and times in memory."""

def widen(numbers: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], bfloat16: bool, threads: int) -> None:
    """Write the bits of half-precision numbers as float32."""

def hotwords_arrays(hotwords: Hotwords) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))]]:
    """Return the bytes of HotwordsView and of its nodes, rows and pages."""

def lm_arrays(model: NgramModel) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))]]:
    """Return the bytes of LmView and of its unigrams, states and arcs."""

def words_arrays(model: NgramModel) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))]]:
    """Return the bytes of WordsView and of its slots, offsets and text."""
