"""Write the demo clips: for every language two held-out sentences, and two trained ones in all.

    python -m examples.demo.choose_clips [--state FILE]

They are typical rather than best: of a language's held-out clips of 2 to 6 s and at least four
words, the one at the first quartile of the error rate and the one at the median; of the trained
ones the median. clips.tsv says what the published weights make of each.
"""

import logging
from pathlib import Path

import click
import jiwer
import numpy as np
import soundfile
import torch
from examples.demo.batches import ClipStore
from examples.demo.evaluate import transcribe
from examples.demo.model import AcousticModel
from examples.demo.prepare import CACHE, SAMPLE_RATE
from examples.demo.publish import load_weights
from examples.demo.text import LANGUAGES

logger = logging.getLogger(__name__)

CLIPS = Path(__file__).parent / "clips"
SHORTEST, LONGEST = 2.0, 6.0  # seconds
TRAINED_LANGUAGES = ("eng", "rus")
COLUMNS = ("file", "lang", "held_out", "text", "hypothesis", "cer")
CANDIDATES = 40


def candidates(store: ClipStore, split: str, lang: str) -> list[int]:
    """Clips of a demonstrable length, each sentence once."""
    found: dict[str, int] = {}
    for index in store.select("real", split, lang):
        clip = store.clips[index]
        seconds = clip.samples / SAMPLE_RATE
        if SHORTEST <= seconds <= LONGEST and len(clip.text.split()) >= 4:
            found.setdefault(clip.text, index)
    indices = sorted(found.values())
    return indices[:: max(len(indices) // CANDIDATES, 1)]


def at_quantiles(
    store: ClipStore, texts: dict[int, str], quantiles: tuple[float, ...]
) -> list[int]:
    """Clips at these quantiles of the character error rate."""
    ranked = sorted(texts, key=lambda index: jiwer.cer(store.clips[index].text, texts[index]))
    return [ranked[round(quantile * (len(ranked) - 1))] for quantile in quantiles]


def write_clip(store: ClipStore, index: int, hypothesis: str) -> list[str]:
    """Write a clip as FLAC; return its line of clips.tsv."""
    clip = store.clips[index]
    name = f"{clip.lang}_{Path(clip.path).stem}.flac"
    pcm = np.round(store.audio(index) * 32768).astype(np.int16)
    soundfile.write(CLIPS / name, pcm, SAMPLE_RATE, subtype="PCM_16")
    held_out = "yes" if clip.split == "heldout" else "no"
    rate = jiwer.cer(clip.text, hypothesis)
    return [name, clip.lang, held_out, clip.text, hypothesis, f"{rate:.3f}"]


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=CACHE / "cooldown.pt")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
def main(state: Path, cache: Path) -> None:
    """Replace clips/ by clips chosen with the weights of a training state."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)  # clips are short, and training may be using the cores
    weights, config, vocab = load_weights(state)
    model = AcousticModel(config)
    model.load_state_dict(weights)
    store = ClipStore(cache)
    CLIPS.mkdir(exist_ok=True)
    for old in CLIPS.glob("*.flac"):
        old.unlink()
    rows = [list(COLUMNS)]
    for lang in LANGUAGES:
        wanted: list[tuple[str, tuple[float, ...]]] = [("heldout", (0.25, 0.5))]
        wanted += [("train", (0.5,))] if lang in TRAINED_LANGUAGES else []
        for split, quantiles in wanted:
            texts = transcribe(model, store, candidates(store, split, lang), vocab)
            chosen = at_quantiles(store, texts, quantiles)
            rows += [write_clip(store, index, texts[index]) for index in chosen]
    table = "".join("\t".join(row) + "\n" for row in rows)
    (CLIPS / "clips.tsv").write_text(table, encoding="utf-8")
    click.echo(table, nl=False)


if __name__ == "__main__":
    main()
