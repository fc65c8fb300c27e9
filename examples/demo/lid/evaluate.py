"""Accuracy of the exported demo model of language identification, by the engine itself.

    mms-export --model demo-lid
    python -m examples.demo.lid.evaluate

Writes `metrics.json` beside the checkpoint's folder, and the confusion matrix as a picture.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
from examples.demo.batches import ClipStore
from examples.demo.lid.sounds import Music, music, noise, silence, tones
from examples.demo.prepare import CACHE, SAMPLE_RATE
from examples.demo.text import LANGUAGES
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mms_engine import Identifier, IdentifierOptions
from mms_engine.formats.output import open_output
from mms_engine.system import demo_bundle

logger = logging.getLogger(__name__)

METRICS = Path(__file__).parent / "metrics.json"
PICTURE = Path(__file__).parents[3] / "docs/identification.svg"
SETS = {
    "left_out_speakers": ("multispeaker", "leftout"),
    "left_out_voices": ("synthetic", "leftout"),
    "held_out_sentences": ("real", "heldout"),
}
SOUNDS, SECONDS = 60, 6  # of each kind of sound without speech, and their duration
UNSURE = "unsure"
Audio = NDArray[np.float32]
Result = tuple[str, str, str, float, float]  # true label, best label, answer, logit, seconds


def results(identifier: Identifier, clips: Iterable[tuple[str, Audio]]) -> list[Result]:
    """Return what the engine finds in clips, given with their labels."""
    found = []
    for label, audio in clips:
        one = identifier.identify(audio, sample_rate=SAMPLE_RATE, top=1)
        best, logit = (
            (one.scores[0].code, one.scores[0].logit) if one.scores else ("", float("-inf"))
        )
        found.append((label, best, one.language or UNSURE, logit, one.seconds))
    return found


def of_set(store: ClipStore, kind: str, split: str) -> Iterator[tuple[str, Audio]]:
    """Clips of a held-out set in the languages of the model."""
    for lang in LANGUAGES:
        for index in store.select(kind, split, lang):
            yield lang, store.audio(index)


def accuracy(found: list[Result], least: float) -> dict[str, Any]:
    """Shares of clips of at least so many seconds whose best label or answer is right or wrong."""
    long = [one for one in found if one[4] >= least]
    if not long:
        return {}
    by_language = {
        lang: [one[1] == lang for one in long if one[0] == lang]
        for lang in LANGUAGES
        if any(one[0] == lang for one in long)
    }
    return {
        "clips": {lang: len(right) for lang, right in by_language.items()},
        "best": round(sum(one[0] == one[1] for one in long) / len(long), 4),
        "best_by_language": {k: round(sum(v) / len(v), 4) for k, v in by_language.items()},
        "best_mean": round(float(np.mean([np.mean(v) for v in by_language.values()])), 4),
        "answered": round(sum(one[2] != UNSURE for one in long) / len(long), 4),
        "wrong": round(sum(one[2] not in (one[0], UNSURE) for one in long) / len(long), 4),
    }


def sounds(cache: Path) -> Iterator[tuple[str, Audio]]:
    """Sounds without speech that were never trained on."""
    rng = np.random.default_rng(20_260_000)
    recorded = Music(cache, is_held_out=True)
    kinds = {"silence": silence, "noise": noise, "tones": tones, "music, synthetic": music}
    for _ in range(SOUNDS):
        for name, make in kinds.items():
            yield name, make(SECONDS * SAMPLE_RATE, rng)
        yield "music, recorded", recorded.draw(SECONDS * SAMPLE_RATE, rng)


def false_alarms(identifier: Identifier, cache: Path) -> dict[str, dict[str, float]]:
    """Share of sounds without speech that are taken for a language, and their highest logit.

    Speech detection is off: all are left to the floor.
    """
    by_kind: dict[str, list[Result]] = {}
    for one in results(identifier, sounds(cache)):
        by_kind.setdefault(one[0], []).append(one)
    return {
        kind: {
            "taken_for_a_language": round(sum(o[2] != UNSURE for o in found) / len(found), 4),
            "highest_logit": round(max(o[3] for o in found), 2),
        }
        for kind, found in by_kind.items()
    }


def other_languages(identifier: Identifier, store: ClipStore) -> dict[str, Any]:
    """Answers for speakers never heard, in languages that the model does not have."""
    indices = [
        index
        for index in store.select("multispeaker", "leftout")
        if store.clips[index].lang not in LANGUAGES
    ]
    found = results(identifier, ((store.clips[i].lang, store.audio(i)) for i in indices))
    return {
        "clips": len(found),
        "languages": len({one[0] for one in found}),
        "taken_for_a_language": round(sum(o[2] != UNSURE for o in found) / len(found), 4),
    }


def draw_confusion(found: list[Result], path: Path) -> None:
    """Draw true labels against answers, in shares of a row, with the numbers of clips."""
    mpl.rcParams.update({"svg.hashsalt": "mms", "svg.fonttype": "none"})
    columns = (*LANGUAGES, UNSURE)
    counts = Counter((one[0], one[2]) for one in found)
    table = np.array([[counts[row, column] for column in columns] for row in LANGUAGES])
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        text = f"{share:.0%}\n{table[row, column]}" if table[row, column] else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(LANGUAGES)), LANGUAGES)
    axes.set_xlabel("answer")
    axes.set_ylabel("spoken")
    axes.set_title("Speakers never heard, clips of 2 s or more", fontsize=10)
    figure.savefig(path, metadata={"Date": None})


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--bundle", type=click.Path(path_type=Path), default=demo_bundle("demo-lid"))
@click.option("--out", type=click.Path(path_type=Path), default=METRICS)
@click.option("--picture", type=click.Path(path_type=Path), default=PICTURE)
def main(cache: Path, bundle: Path, out: Path, picture: Path) -> None:
    """Measure held-out clips, sounds without speech, and other languages."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    store = ClipStore(cache, cache / "lid")
    metrics: dict[str, Any] = {}
    with Identifier.open(bundle, threads=1) as identifier:
        strangers: list[Result] = []
        for name, (kind, split) in SETS.items():
            found = results(identifier, of_set(store, kind, split))
            if found:
                metrics[name] = {f"{s} s or more": accuracy(found, s) for s in (2, 5)}
            strangers += found if split == "leftout" else []
        metrics["other_languages"] = other_languages(identifier, store)
    everything = IdentifierOptions(min_speech_seconds=0.0)
    with Identifier.open(bundle, threads=1, options=everything) as identifier:
        metrics["no_speech"] = false_alarms(identifier, cache)
    draw_confusion([one for one in strangers if one[4] >= 2], picture)
    with open_output(out) as stream:
        stream.write(json.dumps(metrics, indent=2) + "\n")
    click.echo(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
