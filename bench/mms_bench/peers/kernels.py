"""This project's kernels, on one instruction set."""

import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mms_bench.ctc.posteriors import BOUNDARY, TOKENS
from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Labels, Ready, load_emission
from mms_engine.vocab import BLANK
from mms_kernels import _ctc
from mms_kernels.align import Alignment, forced_align
from mms_kernels.beam import BeamDecoder, BeamOptions
from mms_kernels.greedy import greedy_decode
from mms_kernels.hotwords import Hotwords, read_hotwords
from mms_kernels.lm import open_lm

_UNBOUNDED = 1 << 40
"""Bytes: more than any machine has."""


class Kernels:
    """`mms_kernels` on log-probabilities, its inner loops those of `isa`."""

    def __init__(self, isa: str) -> None:
        self.name = f"ours-{isa}"
        self._isa = isa

    def version(self) -> dict[str, str]:
        """Choose the instruction set and return our version."""
        if self._isa not in _ctc.isas():
            raise NotHere(f"this machine or this build has no {self._isa}")
        _ctc.use_isa(self._isa)
        return {"mms-engine": metadata.version("mms-engine")}

    def ready(self, task: Task) -> Ready:
        """Make the decoder."""
        make: dict[str, Callable[[Task], Ready]] = {
            "greedy": _greedy,
            "beam": _beam,
            "stream": _stream,
            "align": _align,
        }
        return make[task.kind](task)


def _greedy(task: Task) -> Ready:
    emission, lengths = _batch(task)
    return Ready(
        lambda: greedy_decode(
            emission, lengths, blank=BLANK, kind="log_probs", threads=task.threads
        ),
        lambda found: [row.tokens.astype(np.int64) for row in found],
    )


def _batch(task: Task) -> tuple[Any, Any]:
    emission = load_emission(task)
    return emission, np.full(len(emission), emission.shape[1], np.int64)


def _beam(task: Task) -> Ready:
    emission, lengths = _batch(task)
    decoder = _decoder(task)
    return Ready(
        lambda: decoder.decode(emission, lengths, kind="log_probs", threads=task.threads),
        lambda found: [row[0].tokens.astype(np.int64) for row in found],
    )


class _Stream:
    """A stream that has gone on for some time; what is final is taken out of it, as a caller would.

    A young one begins anew before each block, an old one goes on: it is old enough.
    """

    def __init__(self, task: Task) -> None:
        self._decoder = _decoder(task)
        self._block = load_emission(task)[0]
        self._before = task.age // len(self._block)
        self._stream = self._decoder.stream(kind="log_probs")
        self._is_old = False

    def before(self) -> None:
        """Bring it to its age."""
        if self._is_old:
            return
        self._stream = self._decoder.stream(kind="log_probs")
        for _ in range(self._before):
            self.call()
        self._is_old = self._before > 1

    def call(self) -> None:
        """Read the block once more."""
        self._stream.step(self._block)
        self._stream.take_stable()


def _stream(task: Task) -> Ready:
    stream = _Stream(task)
    return Ready(stream.call, lambda _: [], stream.before)


def _align(task: Task) -> Ready:
    emission = load_emission(task)
    targets = np.load(task.targets)[None]
    memory = _UNBOUNDED if task.memory is None else task.memory

    def path(found: list[Alignment]) -> list[Labels]:
        labels = np.full(emission.shape[1], BLANK, np.int64)
        for span in found[0].spans:
            labels[span.start : span.end] = span.token
        return [labels]

    return Ready(
        lambda: forced_align(emission, targets, blank=BLANK, kind="log_probs", max_bytes=memory),
        path,
    )


def _decoder(task: Task) -> BeamDecoder:
    options = BeamOptions(
        beam_size=task.beam_size,
        blank=BLANK,
        token_min_logp=-math.inf if task.token_min_logp is None else task.token_min_logp,
        lm_weight=task.lm_weight,
        word_score=task.word_score,
        separator=BOUNDARY if task.lm or task.hotwords else None,
    )
    hotwords = None
    if task.hotwords:
        phrases = read_hotwords(Path(task.hotwords), weight=task.hotword_weight)
        hotwords = Hotwords(phrases, TOKENS)
    lm = open_lm(Path(task.lm)) if task.lm else None
    tokens = TOKENS if task.lm else ()
    return BeamDecoder(options, lm=lm, hotwords=hotwords, tokens=tokens)
