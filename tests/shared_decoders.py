"""Decoders as a server shares them: what a process, forked or spawned, does with one.

A module of its own, so that spawned processes can import it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lm_models
from ctc_cases import NUMBERS, log_probs
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.align import forced_align
from mms_kernels.greedy import greedy_decode
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import NgramModel

TOKENS = ["<pad>", "a", "b", "|", "c"]
WORDS = ["a", "b", "ab", "ba", "aab", "abc", "ca", "c"]
FRAMES = 80

inherited = None
"""What a forked process finds: models that its parent loaded and used."""


@dataclass
class Models:
    """A model of words, and decoders that share it, with and without hotwords."""

    lm: NgramModel
    decoders: tuple[BeamDecoder, ...]


def write_model(folder: Path) -> Path:
    """Write a compact model of `WORDS`."""
    tables = lm_models.estimate(lm_models.random_text(WORDS, 200, 0), 3)
    (folder / "lm.arpa").write_text(lm_models.arpa(tables))
    lm_models.convert(folder / "lm.arpa", folder / "lm.bin")
    return folder / "lm.bin"


def load(path: Path) -> Models:
    """Load the model and make the decoders."""
    lm = NgramModel.open(path)
    options = BeamOptions(beam_size=20, lm_weight=1.0, word_score=0.5, separator=3)
    hotwords = Hotwords({"ab": 4.0, "ba c": 3.0}, TOKENS, separator="|", excluded=[0])
    with_hotwords = BeamDecoder(options, lm=lm, hotwords=hotwords, tokens=TOKENS)
    plain = BeamDecoder(options, lm=lm, tokens=TOKENS)
    return Models(lm, (with_hotwords, plain))


def results(models: Models, seed: int, threads: int = 1) -> list[tuple]:
    """Everything the kernels say of a batch of two utterances, as values to compare exactly."""
    scores = np.stack([log_probs(FRAMES, 5, seed + row, 1.5) for row in range(2)])
    lengths = np.array([FRAMES, FRAMES - 9])
    found = []
    for decoder in models.decoders:
        rows = decoder.decode(scores, lengths, kind="log_probs", threads=threads, nbest=5)
        found += [
            (*hypothesis.tokens.tolist(), *(getattr(hypothesis, name) for name in NUMBERS))
            for row in rows
            for hypothesis in row
        ]
    greedy = greedy_decode(scores, lengths, kind="log_probs", threads=threads)
    found += [tuple(row.tokens.tolist()) for row in greedy]
    targets = np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    aligned = forced_align(scores, targets, lengths, kind="log_probs", threads=threads)
    return found + [(row.score, *((s.start, s.end) for s in row.spans)) for row in aligned]


def in_child(seed: int, path: Path | None = None) -> list[tuple]:
    """Decode on two threads, with models of its own or, without a path, those inherited."""
    return results(load(path) if path else inherited, seed, threads=2)
