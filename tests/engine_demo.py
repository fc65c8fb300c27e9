"""The demo's clips, as the tests of the engine use them."""

import csv
from dataclasses import dataclass
from pathlib import Path

DEMO = Path(__file__).parents[1] / "examples" / "demo"


@dataclass(frozen=True)
class Clip:
    """A clip of `examples/demo/clips/clips.tsv`."""

    path: Path
    language: str
    text: str


def demo_clips() -> list[Clip]:
    """Return the clips, none where the demo has none yet."""
    table = DEMO / "clips" / "clips.tsv"
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Clip(table.parent / row["file"], row["lang"], row["text"]) for row in rows]


def missing_words(clip: Clip, text: str) -> list[str]:
    """Return the words of five letters or more that were said and are not in `text`."""
    return [word for word in clip.text.split() if len(word) >= 5 and word not in text.split()]
