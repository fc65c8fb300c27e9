"""Fetch the recordings from Debian, decode them, and write the manifest of real clips.

    python -m examples.demo.prepare

Each set of clips in the cache folder is two files: `NAME.pcm` (int16, 16 kHz mono, every clip one
after another) and `NAME.tsv` (one clip a line, columns of `Clip`).
"""

import dataclasses
import gzip
import logging
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import click
import numpy as np
import platformdirs
from examples.demo.text import is_held_out, normalise
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
CACHE = platformdirs.user_cache_path("mms-engine") / "training"
PACKAGES = {"eng": "en", "spa": "es", "fra": "fr", "ita": "it", "rus": "ru"}
# Readings slower or faster than this (characters a second) do not say what their transcript says.
PLAUSIBLE_RATE = (2.0, 24.0)
LONGEST_SECONDS = 18.0


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip: where its samples lie in the .pcm beside the manifest, and what it says."""

    path: str
    lang: str
    voice: str
    # "real" (an announcer), "varied" (the same, pitch and formants moved), "synthetic",
    # "multispeaker", or "words" (single ones)
    kind: str
    split: str  # "train", "heldout" (sentence never trained on) or "leftout" (nor the voice)
    offset: int  # samples
    samples: int
    text: str


COLUMNS = [field.name for field in dataclasses.fields(Clip)]


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write clips as TSV with a header line."""
    rows = ["\t".join(str(value) for value in dataclasses.astuple(clip)) for clip in clips]
    path.write_text("\n".join(["\t".join(COLUMNS), *rows]) + "\n", encoding="utf-8")


def read_manifest(path: Path) -> list[Clip]:
    """Read the clips of a TSV written by `write_manifest`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines[0].split("\t") != COLUMNS:
        raise ValueError(f"{path}: columns are {lines[0]!r}, expected {COLUMNS}")
    clips = []
    for line in lines[1:]:
        clip_path, lang, voice, kind, split, offset, samples, text = line.split("\t")
        clips.append(Clip(clip_path, lang, voice, kind, split, int(offset), int(samples), text))
    return clips


def write_set(path: Path, clips: Iterable[tuple[Clip, NDArray[np.int16]]]) -> list[Clip]:
    """Write clips and their samples to `path` with the suffixes .tsv and .pcm.

    Return the clips, with their offsets and lengths.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".pcm.tmp")
    written: list[Clip] = []
    offset = 0
    with scratch.open("wb") as pcm_file:
        for clip, pcm in clips:
            pcm_file.write(pcm.tobytes())
            written.append(dataclasses.replace(clip, offset=offset, samples=len(pcm)))
            offset += len(pcm)
    scratch.replace(path.with_suffix(".pcm"))
    write_manifest(path.with_suffix(".tsv"), written)
    return written


def fetch_packages(cache: Path) -> Path:
    """Download and unpack the sound and transcript packages; return the unpacked root."""
    debs, root = cache / "debs", cache / "packages"
    debs.mkdir(parents=True, exist_ok=True)
    for code in PACKAGES.values():
        for name in (f"asterisk-core-sounds-{code}", f"asterisk-core-sounds-{code}-g722"):
            if not list(debs.glob(f"{name}_*.deb")):
                logger.info("downloading %s", name)
                command = ["apt-get", "download", "-o", "APT::Sandbox::User=root", name]
                subprocess.run(command, cwd=debs, check=True, stdout=subprocess.DEVNULL)
            deb = next(debs.glob(f"{name}_*.deb"))
            subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
    return root


def read_transcripts(root: Path, code: str) -> Iterator[tuple[str, str]]:
    """Yield (clip name, transcript as typed) from a language's transcript file."""
    name = f"asterisk-core-sounds-{code}"
    compressed = (root / f"usr/share/doc/{name}/core-sounds-{code}.txt.gz").read_bytes()
    for line in gzip.decompress(compressed).decode("utf-8-sig").splitlines():
        clip, colon, transcript = line.partition(":")
        if colon and not line.startswith(";"):
            yield clip.strip(), transcript.strip()


def decode(path: Path) -> NDArray[np.int16]:
    """Decode a raw G.722 file to int16 samples at 16 kHz, shape (samples,)."""
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.int16)


def collect(root: Path, lang: str) -> Iterator[tuple[Clip, NDArray[np.int16]]]:
    """Yield the usable clips of a language with their samples (offsets still zero)."""
    code = PACKAGES[lang]
    folder = next((root / "usr/share/asterisk/sounds").glob(f"{code}_*"))
    for name, transcript in read_transcripts(root, code):
        path = folder / f"{name}.g722"
        text = normalise(transcript, lang)
        if text is None or not path.exists():
            continue
        pcm = decode(path)
        seconds = len(pcm) / SAMPLE_RATE
        slowest, fastest = PLAUSIBLE_RATE
        if seconds > LONGEST_SECONDS or not slowest <= len(text) / seconds <= fastest:
            logger.info("left out: %s/%s, %.1f s for %r", code, name, seconds, text)
            continue
        split = "heldout" if is_held_out(text) else "train"
        source = path.relative_to(root / "usr/share/asterisk/sounds")
        yield Clip(str(source), lang, folder.name, "real", split, 0, len(pcm), text), pcm


def report(clips: list[Clip]) -> None:
    """Print clips and minutes per language, voice kind and split on stdout."""
    totals: dict[tuple[str, str, str], list[float]] = {}
    for clip in clips:
        total = totals.setdefault((clip.lang, clip.kind, clip.split), [0, 0.0])
        total[0] += 1
        total[1] += clip.samples / SAMPLE_RATE / 60
    for (lang, kind, split), (count, minutes) in sorted(totals.items()):
        click.echo(f"{lang} {kind:9} {split:8} {count:6.0f} clips {minutes:7.1f} min")


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True)
def main(cache: Path) -> None:
    """Fetch and decode the real recordings; write real.pcm and real.tsv to the cache folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root = fetch_packages(cache)
    recordings = (recording for lang in PACKAGES for recording in collect(root, lang))
    clips = write_set(cache / "real", recordings)
    report(clips)


if __name__ == "__main__":
    main()
