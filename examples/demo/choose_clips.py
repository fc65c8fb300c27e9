"""Write the demo clips: of announcers, and of strangers.

    python -m examples.demo.choose_clips [--state FILE] [--anew]

clips/ has two held-out sentences of each language's announcer, and two trained ones in all;
strangers/ two speakers of each language whom the training never heard. The tables in them say what
the published weights make of each.

With --anew clips are chosen, typical ones rather than the best: of clips of 2 to 6 s and at least
four words, the one at the first quartile of the error rate and the one at the median; of the
trained ones the median. Otherwise they stay, and only the tables are written.
"""

import csv
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import click
import jiwer
import numpy as np
import soundfile
import torch
from examples.demo.batches import ClipStore
from examples.demo.evaluate import transcribe
from examples.demo.model import AcousticModel
from examples.demo.prepare import CACHE, SAMPLE_RATE, Clip
from examples.demo.publish import load_weights
from examples.demo.text import LANGUAGES
from examples.demo.vocab import NestedVocab

logger = logging.getLogger(__name__)

DEMO = Path(__file__).parent
SHORTEST, LONGEST = 2.0, 6.0  # seconds
TRAINED_LANGUAGES = ("eng", "rus")
COLUMNS = ("file", "lang", "held_out", "text", "hypothesis", "cer")
CANDIDATES = 40


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of demo clips, with a table of the same name."""

    name: str
    kind: str
    """Kind of the recordings in the training's data."""
    quantiles: Mapping[str, tuple[float, ...]]
    """Clips of each split by their rank in the error rates of a language, from 0 to 1."""

    @property
    def path(self) -> Path:
        """Path of the folder."""
        return DEMO / self.name

    @property
    def table(self) -> Path:
        """Path of its table."""
        return self.path / f"{self.name}.tsv"


FOLDERS = (
    Folder("clips", "real", {"heldout": (0.25, 0.5), "train": (0.5,)}),
    Folder("strangers", "multispeaker", {"leftout": (0.25, 0.5)}),
)


def candidates(store: ClipStore, kind: str, split: str, lang: str) -> list[int]:
    """Clips of a demonstrable length, each sentence and each stranger once."""
    found: dict[str, int] = {}
    for index in store.select(kind, split, lang):
        clip = store.clips[index]
        seconds = clip.samples / SAMPLE_RATE
        if SHORTEST <= seconds <= LONGEST and len(clip.text.split()) >= 4:
            found.setdefault(clip.text if kind == "real" else clip.voice, index)
    indices = sorted(found.values())
    return indices[:: max(len(indices) // CANDIDATES, 1)]


def at_quantiles(
    store: ClipStore, texts: dict[int, str], quantiles: tuple[float, ...]
) -> list[int]:
    """Clips at these quantiles of the character error rate."""
    ranked = sorted(texts, key=lambda index: jiwer.cer(store.clips[index].text, texts[index]))
    return [ranked[round(quantile * (len(ranked) - 1))] for quantile in quantiles]


def file_name(clip: Clip) -> str:
    """Name of a clip's file."""
    return f"{clip.lang}_{Path(clip.path).stem}.flac"


def chosen_before(store: ClipStore, folder: Folder) -> list[int]:
    """Clips of the folder's table."""
    named = {
        file_name(clip): index for index, clip in enumerate(store.clips) if clip.kind == folder.kind
    }
    with folder.table.open(encoding="utf-8", newline="") as stream:
        return [named[row["file"]] for row in csv.DictReader(stream, delimiter="\t")]


def choose(store: ClipStore, folder: Folder, model: AcousticModel, vocab: NestedVocab) -> list[int]:
    """Choose the clips of a folder and write them in place of those that it has."""
    chosen = []
    for lang in LANGUAGES:
        for split, quantiles in folder.quantiles.items():
            if split != "train" or lang in TRAINED_LANGUAGES:
                found = candidates(store, folder.kind, split, lang)
                texts = transcribe(model, store, found, vocab)
                chosen += at_quantiles(store, texts, quantiles)
    folder.path.mkdir(exist_ok=True)
    for old in folder.path.glob("*.flac"):
        old.unlink()
    for index in chosen:
        pcm = np.round(store.audio(index) * 32768).astype(np.int16)
        path = folder.path / file_name(store.clips[index])
        soundfile.write(path, pcm, SAMPLE_RATE, subtype="PCM_16")
    return chosen


def table_row(clip: Clip, hypothesis: str) -> tuple[str, ...]:
    """Line of the table."""
    held_out = "no" if clip.split == "train" else "yes"
    rate = jiwer.cer(clip.text, hypothesis)
    return file_name(clip), clip.lang, held_out, clip.text, hypothesis, f"{rate:.3f}"


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=CACHE / "cooldown.pt")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--anew", is_flag=True, help="Choose the clips anew.")
def main(state: Path, cache: Path, *, anew: bool) -> None:
    """Write the tables, or clips and tables, with the weights of a training state."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)  # clips are short, and training may be using the cores
    weights, config, vocab = load_weights(state)
    model = AcousticModel(config)
    model.load_state_dict(weights)
    store = ClipStore(cache)
    for folder in FOLDERS:
        known = not anew and folder.table.exists()
        chosen = chosen_before(store, folder) if known else choose(store, folder, model, vocab)
        texts = transcribe(model, store, chosen, vocab)
        rows = [COLUMNS, *(table_row(store.clips[index], texts[index]) for index in chosen)]
        table = "".join("\t".join(row) + "\n" for row in rows)
        folder.table.write_text(table, encoding="utf-8")
        click.echo(table, nl=False)


if __name__ == "__main__":
    main()
