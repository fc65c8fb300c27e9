"""Let free synthesisers read sentences, for voices the recordings do not have.

    python -m examples.demo.synthesize [--scale 1.0]

Writes one set of clips for each engine and language. Pico (Russian: Festival's voice) reads only
held-out sentences: the left-out voices on which the model is measured.
"""

import dataclasses
import logging
import zlib
from pathlib import Path

import click
import numpy as np
from examples.demo.engines import Speak, espeak, festival, flite, pico
from examples.demo.prepare import (
    CACHE,
    LONGEST_SECONDS,
    PLAUSIBLE_RATE,
    SAMPLE_RATE,
    Clip,
    report,
    write_set,
)
from examples.demo.sentences import held_out_sentences, training_sentences

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one engine reads in one language."""

    engine: str
    lang: str
    speak: Speak
    sentences: int  # of training; 0 means the held-out sentences, as a left-out voice


READINGS = (
    *(Reading("pico", lang, pico, 0) for lang in ("eng", "spa", "fra", "ita")),
    Reading("festival", "rus", festival, 0),
    *(Reading("espeak", lang, espeak, 2400) for lang in ("spa", "fra", "rus", "ita", "eng")),
    Reading("flite", "eng", flite, 1600),
    Reading("festival", "ita", festival, 1200),
    Reading("festival", "eng", festival, 800),
)


def synthesize(reading: Reading, cache: Path, scale: float) -> list[Clip]:
    """Write the set of clips of a reading; return its clips."""
    rng = np.random.default_rng(zlib.crc32(f"{reading.engine}-{reading.lang}".encode()))
    if reading.sentences:
        texts = training_sentences(cache, reading.lang, rng)[: int(reading.sentences * scale)]
    else:
        texts = held_out_sentences(cache, reading.lang)
    name = f"synthetic-{reading.engine}-{reading.lang}"
    split = "train" if reading.sentences else "leftout"
    spoken = reading.speak(texts, reading.lang, rng)
    return write_set(
        cache / name,
        (
            (Clip(f"{name}/{n}", reading.lang, voice, "synthetic", split, 0, len(pcm), text), pcm)
            for n, (text, (voice, pcm)) in enumerate(zip(texts, spoken, strict=True))
            if pcm is not None and _plausible(text, len(pcm))
        ),
    )


def _plausible(text: str, samples: int) -> bool:
    seconds = samples / SAMPLE_RATE
    slowest, fastest = PLAUSIBLE_RATE
    return 0.3 < seconds < LONGEST_SECONDS and slowest <= len(text) / seconds <= fastest


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--scale", default=1.0, help="Times the usual number of sentences.")
@click.option("--only", help="One set, as ENGINE-LANG.")
def main(cache: Path, scale: float, only: str | None) -> None:
    """Synthesise all sets that the cache folder does not hold yet."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for reading in READINGS:
        name = f"{reading.engine}-{reading.lang}"
        if only not in (None, name):
            continue
        if only is None and (cache / f"synthetic-{name}.tsv").exists():
            logger.info("%s is there already", name)
            continue
        report(synthesize(reading, cache, scale))


if __name__ == "__main__":
    main()
