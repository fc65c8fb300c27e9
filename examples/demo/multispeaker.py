"""Decode the multi-speaker set: thousands of speakers, mostly of Common Voice, in many languages.

    python -m examples.demo.multispeaker [--speech FOLDER]

The folder holds one sub-folder per language (ISO 639-3) and `metadata.tsv` with the columns file,
lang, speaker, text, split and seconds; speakers of split `test` become the split `leftout`.
Languages with too little speech, or written in too many characters to learn from it, make a set of
their own, `lid/unspelled`, for language identification.
"""

import csv
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import soundfile
import soxr
from examples.demo.prepare import (
    CACHE,
    PLAUSIBLE_RATE,
    SAMPLE_RATE,
    Clip,
    report,
    write_set,
)
from examples.demo.text import ALPHABETS, normalise
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

SPEECH = Path(__file__).parents[3] / "shared/speech"  # beside the checkout
NAME = "multispeaker"
LEAST_MINUTES, MOST_CHARACTERS = 4.0, 90
RAREST = 3  # occurrences in training below which a character does not enter the vocabulary
SPLITS = {"train": "train", "test": "leftout"}


def normalise_any(text: str, language: str) -> str | None:
    """Return letters, marks, apostrophes and single spaces, or None where `text` is not usable."""
    if language in ALPHABETS:
        return normalise(text, language)
    letters = (
        c if c == "'" or unicodedata.category(c)[0] in "LM" else " "
        for c in unicodedata.normalize("NFC", text.lower())
    )
    return " ".join("".join(letters).split()) or None


def select_clips(rows: Iterable[dict[str, str]]) -> tuple[list[Clip], list[Clip]]:
    """Return the clips of the metadata, without offsets or exact lengths.

    The first are of languages that can be learnt to be written, the second of the others.
    """
    clips: dict[str, list[Clip]] = {}
    for row in rows:
        lang, seconds = row["lang"], float(row["seconds"])
        text = normalise_any(row["text"], lang)
        if text and len(text) <= PLAUSIBLE_RATE[1] * seconds:
            samples = round(seconds * SAMPLE_RATE)
            split = SPLITS[row["split"]]
            clip = Clip(row["file"], lang, row["speaker"], NAME, split, 0, samples, text)
            clips.setdefault(lang, []).append(clip)
    spelled: list[Clip] = []
    unspelled: list[Clip] = []
    for of_language in clips.values():
        kept = _spelled(of_language)
        spelled += kept
        unspelled += [] if kept else of_language
    return spelled, unspelled


def _spelled(clips: list[Clip]) -> list[Clip]:
    """Drop training clips with rare characters; return none where too little is left."""
    counts = Counter("".join(clip.text for clip in clips if clip.split == "train"))
    rare = {character for character, count in counts.items() if count < RAREST}
    kept = [clip for clip in clips if clip.split != "train" or not rare & set(clip.text)]
    minutes = sum(clip.samples for clip in kept if clip.split == "train") / SAMPLE_RATE / 60
    enough = minutes >= LEAST_MINUTES and len(counts) - len(rare) <= MOST_CHARACTERS
    if not enough:
        logger.info("not for recognition: %s, %.1f min", clips[0].lang, minutes)
    return kept if enough else []


def decode(path: Path) -> NDArray[np.int16]:
    """Decode a file of any format and rate to int16 samples at 16 kHz, shape (samples,)."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(audio.mean(1), rate, SAMPLE_RATE)
    return np.round(np.clip(mono, -1, 1) * 32767).astype(np.int16)


def decode_clips(speech: Path, clips: Iterable[Clip]) -> Iterator[tuple[Clip, NDArray[np.int16]]]:
    """Yield each clip and its samples."""
    for clip in clips:
        yield clip, decode(speech / clip.path)


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True)
@click.option(
    "--speech",
    envvar="MMS_SPEECH",
    type=click.Path(path_type=Path),
    default=SPEECH,
    help="Folder of the multi-speaker set.  [default: ../shared/speech beside the checkout]",
)
def main(cache: Path, speech: Path) -> None:
    """Decode the multi-speaker set to the cache folder; without the set, do nothing."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not (speech / "metadata.tsv").exists():
        click.echo(f"{speech}: no metadata.tsv; training will use the announcers only")
        return
    with (speech / "metadata.tsv").open(encoding="utf-8", newline="") as file:
        spelled, unspelled = select_clips(
            csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        )
    report(write_set(cache / NAME, decode_clips(speech, spelled)))
    report(write_set(cache / "lid" / "unspelled", decode_clips(speech, unspelled)))


if __name__ == "__main__":
    main()
