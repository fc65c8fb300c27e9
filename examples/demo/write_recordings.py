"""The held-out real recordings as files, with a list that `mms-bench run stream` reads.

    python -m examples.demo.write_recordings FOLDER

Needs the clips that `examples.demo.prepare` made.
"""

import csv
from pathlib import Path

import click
import numpy as np
import soundfile
from examples.demo.prepare import CACHE, SAMPLE_RATE, read_manifest

COLUMNS = ("file", "lang", "text")


def write_recordings(manifest: Path, folder: Path) -> int:
    """Write each held-out clip of a manifest as FLAC, and `recordings.tsv`; return how many."""
    pcm = np.memmap(manifest.with_suffix(".pcm"), dtype=np.int16, mode="r")
    clips = [clip for clip in read_manifest(manifest) if clip.split == "heldout"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "recordings.tsv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        table.writerow(COLUMNS)
        for number, clip in enumerate(clips):
            name = f"{clip.lang}_{number:04}.flac"
            samples = pcm[clip.offset : clip.offset + clip.samples]
            soundfile.write(folder / name, samples, SAMPLE_RATE, subtype="PCM_16")
            table.writerow((name, clip.lang, clip.text))
    return len(clips)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--manifest", type=click.Path(path_type=Path), default=CACHE / "real.tsv")
def main(folder: Path, manifest: Path) -> None:
    """Write the held-out recordings to FOLDER."""
    click.echo(f"{write_recordings(manifest, folder)} recordings")


if __name__ == "__main__":
    main()
