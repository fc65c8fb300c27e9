"""Copies of the training recordings with pitch and formants moved: five announcers become forty.

    python -m examples.demo.vary

Needs sox. Writes one set of clips for each language.
"""

import dataclasses
import logging
import subprocess
from pathlib import Path

import click
import numpy as np
from examples.demo.batches import ClipStore
from examples.demo.prepare import CACHE, SAMPLE_RATE, Clip, report, write_manifest
from examples.demo.text import LANGUAGES
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CENTS = (-550, -400, -250, -130, 150, 300, 450)
GAP = SAMPLE_RATE // 4  # samples of silence between clips, for the little that sox shifts in time


def shift_pitch(pcm: NDArray[np.int16], cents: int) -> NDArray[np.int16]:
    """Move pitch and formants by `cents` at the same tempo, (samples,) in and out."""
    raw = ["-t", "raw", "-r", str(SAMPLE_RATE), "-e", "signed", "-b", "16", "-c", "1", "-"]
    command = ["sox", "-G", *raw, *raw, "pitch", str(cents)]
    done = subprocess.run(command, input=pcm.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.int16)


def vary(store: ClipStore, lang: str, cache: Path) -> list[Clip]:
    """Write the varied copies of a language's training recordings; return their clips."""
    indices = store.select("real", "train", lang)
    starts, parts, position = [], [], 0
    for index in indices:
        pcm = (store.audio(index) * 32767).astype(np.int16)
        starts.append(position)
        parts += [pcm, np.zeros(GAP, np.int16)]
        position += len(pcm) + GAP
    stream = np.concatenate(parts)
    name = f"varied-{lang}"
    clips: list[Clip] = []
    with (cache / f"{name}.pcm").open("wb") as pcm_file:
        for number, cents in enumerate(CENTS):
            shifted = np.resize(shift_pitch(stream, cents), len(stream))
            pcm_file.write(shifted.tobytes())
            for index, start in zip(indices, starts, strict=True):
                clip = store.clips[index]
                offset = number * len(stream) + start
                voice = f"{clip.voice}{cents:+}"
                varied = dataclasses.replace(clip, voice=voice, kind="varied", offset=offset)
                clips.append(varied)
    write_manifest(cache / f"{name}.tsv", clips)
    return clips


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
def main(cache: Path) -> None:
    """Write the varied copies of all languages."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    store = ClipStore(cache)
    report([clip for lang in LANGUAGES for clip in vary(store, lang, cache)])


if __name__ == "__main__":
    main()
