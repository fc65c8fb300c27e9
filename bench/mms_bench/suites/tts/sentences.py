"""Cases `sentence` and `first`: one sentence as a whole, and until there is something to play."""

import math
from dataclasses import replace

import numpy as np

from mms_bench.errors import Failed, Skipped
from mms_bench.peers import REFERENCE, is_ours
from mms_bench.peers.voices import Sentence
from mms_bench.run.context import Context, Trial
from mms_bench.run.result import Case, Figure, Row
from mms_bench.run.worker import Worker
from mms_engine.audio import SAMPLE_RATE
from mms_engine.types import Float32Array

_LENGTH_TOLERANCE = 0.02
"""Largest relative difference of the length: float16 weights may move a duration by a frame."""
_LEVEL_DECIBELS = 2.0
"""Largest difference of the level in dB, where the lengths are equal."""
_NO_NOISE = "All speak without noise, so that their samples can be compared."

SENTENCE = Case(
    name="sentence",
    title="One sentence",
    timing=f"Timed: from text in memory to all samples in memory. {_NO_NOISE}",
    unit="s of audio",
    each="second of audio",
    figures=(
        Figure("seconds", "length", "seconds"),
        Figure("snr", "signal to difference from the reference, dB", "number"),
    ),
    baseline=REFERENCE,
)
FIRST = Case(
    name="first",
    title="First audio of one sentence",
    timing=(
        "Timed: from text in memory to the first samples in memory: the first chunk of the engine, "
        f"the whole sentence of implementations that do not stream. {_NO_NOISE}"
    ),
    baseline=REFERENCE,
)


def measure_sentence(context: Context) -> list[Row]:
    """Race all peers whose samples agree with the reference's; time the first audio too."""
    options = context.options
    voice = options.languages[0]
    setup = replace(options, languages=(voice,))
    reference: list[Float32Array] = []

    def check(_: Worker, row: Row, samples: Float32Array) -> Row:
        row = replace(row, amount=samples.size / SAMPLE_RATE)
        if row.implementation == REFERENCE:
            reference.append(samples)
            return replace(row, figures={"seconds": row.amount})
        if not reference:
            raise Skipped(f"{REFERENCE}, the reference, has no result to check against")
        return replace(row, figures={"seconds": row.amount, **compare(samples, reference[0])})

    def check_first(_: Worker, row: Row, samples: Float32Array) -> Row:
        if not samples.size or not np.isfinite(samples).all():
            raise Failed("returned no audio")
        return row

    whole, first = Sentence(options.text, voice), Sentence(options.text, voice, first=True)
    # The reference first, and this project's, while there is memory.
    peers = sorted(options.peers, key=lambda peer: (peer != REFERENCE, not is_ours(peer)))
    trials = [
        trial
        for peer in peers
        for trial in (
            Trial(case=SENTENCE.name, peer=peer, work=whole, setup=setup, check=check),
            Trial(case=FIRST.name, peer=peer, work=first, setup=setup, check=check_first),
        )
    ]
    return context.measure(trials)


def compare(samples: Float32Array, reference: Float32Array) -> dict[str, float]:
    """Return the ratio of signal to difference in dB, empty where the lengths differ.

    Raises:
        Failed: they are not the same speech.
    """
    longest = max(samples.size, reference.size)
    if abs(samples.size - reference.size) > _LENGTH_TOLERANCE * longest:
        raise Failed(f"wrong: {samples.size} samples, the reference has {reference.size}")
    if samples.size != reference.size:
        return {}
    level = 20 * math.log10(_rms(samples) / _rms(reference))
    if not abs(level) <= _LEVEL_DECIBELS:
        raise Failed(f"wrong: {level:+.1f} dB louder than the reference")
    return {"snr": 20 * math.log10(_rms(reference) / _rms(samples - reference))}


def _rms(samples: Float32Array) -> float:
    return max(1e-9, float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))
