"""This project's CTC kernels, on one instruction set."""

import math

import numpy as np

from mms_bench.errors import Skipped
from mms_bench.peers.base import Labels, Peer, Ready, Task
from mms_engine.text.vocabulary import BLANK, WORD_BOUNDARY
from mms_kernels import (
    Alignment,
    BeamDecoder,
    BeamOptions,
    Hotwords,
    _ctc,
    forced_align,
    greedy_decode,
    open_lm,
)


class Kernels(Peer):
    """`mms_kernels` on log-probabilities, restricted to the instruction set `isa`."""

    packages = ("mms-engine",)

    def __init__(self, isa: str) -> None:
        if isa not in _ctc.isas():
            raise Skipped(f"this machine or this build has no {isa}")
        _ctc.use_isa(isa)

    def ready(self, task: Task) -> Ready:
        """Create the decoder."""
        emission = task.emission
        lengths = np.full(len(emission), emission.shape[1], np.int64)
        if task.kind == "greedy":
            return Ready(
                lambda: greedy_decode(emission, lengths, blank=BLANK, kind="log_probs"),
                lambda found: [row.tokens.astype(np.int64) for row in found],
            )
        if task.kind == "beam":
            decoder = _decoder(task)
            return Ready(
                lambda: decoder.decode(emission, lengths, kind="log_probs"),
                lambda found: [row[0].tokens.astype(np.int64) for row in found],
            )
        targets = np.asarray(task.targets, np.int32)[None]
        return Ready(
            lambda: forced_align(emission, targets, blank=BLANK, kind="log_probs"),
            lambda found: [_path(found[0], emission.shape[1])],
        )


def _path(alignment: Alignment, frames: int) -> Labels:
    labels = np.full(frames, BLANK, np.int64)
    for span in alignment.spans:
        labels[span.start : span.end] = span.token
    return labels


def _decoder(task: Task) -> BeamDecoder:
    words = bool(task.lm or task.hotwords)
    options = BeamOptions(
        beam_size=task.beam_size,
        blank=BLANK,
        token_min_logp=-math.inf if task.token_min_logp is None else task.token_min_logp,
        lm_weight=task.lm_weight,
        word_score=task.word_score,
        separator=task.tokens.index(WORD_BOUNDARY) if words else None,
    )
    phrases = dict.fromkeys(task.hotwords, task.hotword_weight)
    hotwords = Hotwords(phrases, task.tokens) if phrases else None
    lm = open_lm(task.lm) if task.lm else None
    return BeamDecoder(options, lm=lm, hotwords=hotwords, tokens=task.tokens if lm else ())
