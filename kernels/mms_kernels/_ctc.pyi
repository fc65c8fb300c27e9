"""CTC kernels in C++; mms_kernels is their public face."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def isas() -> list[str]:
    """Instruction sets that this build has and this machine can run."""

def isa() -> str:
    """The one in use."""

def use_isa(name: str) -> None:
    """Use another one from now on."""

def align_batch(logits: Annotated[NDArray, dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], targets: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], target_lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], *, kind: str, blank: int, star: int | None, star_score: float, max_bytes: int, band: int, threads: int) -> list[tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], float]]:
    """
    Align each row: starts, ends and scores of its tokens, and the score of the path.
    """

def align_levels(frames: int, tokens: int, columns: int, vocab: int, max_bytes: int) -> list[int]:
    """
    Frames between saved rows at each level of the search within the bound.
    """

def greedy_batch(scores: Annotated[NDArray, dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], blank: int, kind: str, threads: int) -> list[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]]:
    """Decode each row: ids, starts, ends, scores and peaks of its tokens."""

class GreedyStream:
    """Greedy decoding of frames that arrive in pieces."""

    def __init__(self, blank: int, kind: str) -> None: ...

    def step(self, scores: Annotated[NDArray, dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> None:
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

class Lexicon:
    """Words over tokens, as a trie."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None: ...

    def contains(self, word: Sequence[int]) -> bool:
        """Whether the word is there."""

    @property
    def nodes(self) -> int:
        """Nodes of the trie."""

class BeamDecoder:
    """Options and models of a prefix beam search."""

    def __init__(self, beam_size: int, blank: int, token_min_logp: float, beam_threshold: float, blank_skip: float, lookback: int, lm_weight: float, word_score: float, unit: str, separator: int, tokens: Sequence[str], lm: object | None, hotwords: object | None, lexicon: object | None) -> None: ...

    def decode(self, scores: Annotated[NDArray, dict(shape=(None, None, None), order='C', device='cpu', writable=False)], lengths: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], kind: str, nbest: int, threads: int) -> list[list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float, float]]]:
        """Decode each row: its best hypotheses."""

class BeamStream:
    """A prefix beam search of frames that arrive in pieces."""

    def __init__(self, decoder: object, hotwords: object | None) -> None: ...

    def step(self, scores: Annotated[NDArray, dict(shape=(None, None), order='C', device='cpu', writable=False)], kind: str) -> None:
        """Read frames."""

    def partial(self, nbest: int) -> tuple[list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float, float]], int]:
        """The best so far, and how much is stable."""

    def results(self, nbest: int) -> list[tuple[tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]], float, float, float, float]]:
        """The best if this is the end."""

    def take_stable(self) -> tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))]]:
        """Hand over the tokens that cannot change."""

    def reset(self) -> None:
        """Start over."""

    def copy(self) -> BeamStream:
        """Fork."""

    @property
    def frames(self) -> int:
        """Frames read."""

    @property
    def live(self) -> int:
        """Prefixes and spans in memory."""

class Hotwords:
    """Phrases to listen for, over tokens."""

    def __init__(self, phrases: Sequence[Sequence[int]], weights: Sequence[float], vocab: int, boundary: int) -> None: ...

    @property
    def start(self) -> int:
        """The state before the first token."""

    def step(self, state: int, token: int) -> tuple[int, float]:
        """Return the next state and the bonus."""

    def finish(self, state: int) -> float:
        """Return the bonus of the end."""

    def score(self, tokens: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> float:
        """Return the sum of all bonuses."""

    @property
    def max_bonus(self) -> float:
        """The greatest bonus of a step."""

    @property
    def vocab(self) -> int:
        """Tokens of the vocabulary."""

    @property
    def nbytes(self) -> int:
        """Memory."""

class LanguageModel:
    """What the decoders ask."""

    @property
    def start(self) -> int:
        """The state after <s>; 0 is no context."""

    def unit(self, text: str) -> int:
        """Return a unit; <unk>'s where unknown."""

    def knows(self, text: str) -> bool:
        """Return whether it is a unit."""

    def score(self, state: int, unit: int) -> tuple[float, int]:
        """Return log10 P and the next state."""

    def finish(self, state: int) -> float:
        """Return log10 P(</s>)."""

    def total(self, words: Sequence[str], bos: bool, eos: bool) -> float:
        """Return log10 P of words."""

class NgramModel(LanguageModel):
    """A model in our format."""

    def __init__(self, file: int) -> None: ...

    def score(self, state: int, unit: int) -> tuple[float, int]:
        """Return log10 P and the next state."""

    def finish(self, state: int) -> float:
        """Return log10 P(</s>)."""

    @property
    def order(self) -> int:
        """Longest n-gram."""

    @property
    def vocab(self) -> int:
        """Words."""

    @property
    def states(self) -> int:
        """States."""

    @property
    def ngrams(self) -> int:
        """N-grams of all orders."""

    @property
    def nbytes(self) -> int:
        """Size of the file."""

class KenlmModel(LanguageModel):
    """A model of the package kenlm."""

    def __init__(self, model: object, state_class: object) -> None: ...

class NgramImage:
    """What a file in our format holds."""

    def pieces(self) -> list[Annotated[NDArray[numpy.uint8], dict(shape=(None,), writable=False)]]:
        """Return its bytes, in order."""

class ArpaReader:
    """From ARPA text to our format."""

    def __init__(self) -> None: ...

    def read(self, text: bytes) -> None:
        """Read the next piece."""

    def finish(self) -> NgramImage:
        """Return the model."""

def hotwords_arrays(hotwords: Hotwords) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))]]:
    """The bytes of HotwordsView, and of its nodes, rows and pages."""

def lm_arrays(model: NgramModel) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))]]:
    """The bytes of LmView, and of its unigrams, states and arcs."""

def words_arrays(model: NgramModel) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint8], dict(shape=(None,))]]:
    """The bytes of WordsView, and of its slots, offsets and text."""
