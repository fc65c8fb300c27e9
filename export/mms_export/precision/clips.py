"""The speech that a survey runs on."""

import csv
from dataclasses import dataclass
from pathlib import Path

from mms_engine.audio import read_audio
from mms_engine.audio.normalization import normalize
from mms_engine.bundle import Bundle
from mms_engine.errors import MmsError
from mms_export.checkpoints.weights import FloatArray
from mms_export.parity import SPEECH


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One clip and its language."""

    language: str
    samples: FloatArray
    """Normalised, `[N]`, at 16 kHz."""


def read_clips(bundle: Bundle, table: Path | None, seconds: float) -> list[Clip]:
    """Read clips, each cut to `seconds`.

    Args:
        bundle: Has the languages.
        table: A TSV with columns `file` and `lang`, files beside it; without one, the ten seconds
            of real speech that parity is measured on, in the bundle's first language.
        seconds: How much of each clip is used.

    Raises:
        MmsError: a file is not there or is not audio, or the bundle lacks its language.
    """
    if table is None:
        rows = [(SPEECH, bundle.languages[0])]
    else:
        with table.open(encoding="utf-8", newline="") as stream:
            found = csv.DictReader(stream, delimiter="\t")
            rows = [(table.parent / row["file"], row["lang"]) for row in found]
    if not rows:
        raise MmsError(f"{table} names no clips")
    clips = []
    for path, language in rows:
        bundle.entry(language)
        audio = read_audio(path)
        clips.append(Clip(language, normalize(audio.samples[: int(seconds * audio.sample_rate)])))
    return clips
