"""Error rates of strangers by hours of speech and by size of the model.

    python -m examples.demo.learning_curve --checkpoint FOLDER --out FOLDER

Every point goes on from the same checkpoint, for the same number of steps over which the learning
rate falls to zero: with a share of the speakers of the multi-speaker set, with its other languages
too, or with fewer or more layers. A stopped run goes on where it was.
"""

import dataclasses
import json
import logging
import zlib
from pathlib import Path

import click
import torch
from examples.demo.batches import ClipStore, TrainingBatches
from examples.demo.evaluate import rates, with_average
from examples.demo.prepare import CACHE, SAMPLE_RATE
from examples.demo.text import LANGUAGES
from examples.demo.train import give_way, published_trainer, run, share_cores
from examples.demo.trainer import Trainer
from examples.demo.vocab import NestedVocab, build_vocab
from torch import Tensor

from mms_engine.formats.output import open_output

SEPARATE = ("multispeaker", "words")
"""Sets of whose speakers a point hears a share."""


@dataclasses.dataclass(frozen=True)
class Point:
    """Point of the curve: the speech and the model that it is trained with."""

    name: str
    share: float = 1.0
    """Share of the speakers of the multi-speaker set."""
    layers: int | None = None
    """Layers of the model; `None` for those of the checkpoint."""
    others: bool = False
    """Whether the other languages of the multi-speaker set are trained too."""


POINTS = (
    Point("all"),
    Point("deep", layers=12),
    Point("half", share=0.5),
    Point("quarter", share=0.25),
    Point("shallow", layers=3),
    Point("languages", others=True),
)


class SomeSpeakers(ClipStore):
    """The clips of a share of the speakers, the same ones in a larger share too."""

    def __init__(self, share: float, *folders: Path) -> None:
        super().__init__(*folders)
        voices = {clip.voice for clip in self.clips if clip.kind == "multispeaker"}
        self.unheard = {one for one in voices if zlib.crc32(one.encode()) >= share * (1 << 32)}

    def trainable(self, kind: str, lang: str) -> list[int]:
        """Indices of training clips, less those of the speakers that are not heard."""
        indices = super().trainable(kind, lang)
        if kind not in SEPARATE:
            return indices
        return [index for index in indices if self.clips[index].voice not in self.unheard]


def resized(start: Trainer, layers: int, vocab: NestedVocab) -> Trainer:
    """Return a trainer with the weights of another, more or fewer layers, and more languages.

    Layers are kept or repeated at equal distances. A repeated layer adds nothing at first, since
    the last products of its branches are zero, so the function is the same; the adapters of a new
    language are those of a fresh model.
    """
    sizes = tuple(map(len, vocab.values()))
    config = dataclasses.replace(
        start.config, layers=layers, languages=tuple(vocab), vocab_sizes=sizes
    )
    trainer = Trainer(config, vocab)
    trainer.step = trainer.warm_from = start.step
    theirs, ours = start.model.state_dict(), trainer.model.state_dict()
    places = [tuple(vocab).index(lang) for lang in start.config.languages]
    with torch.no_grad():
        for name, tensor in ours.items():
            source, repeated = _source_layer(name, layers, start.config.layers)
            _fill(tensor, theirs[source], places)
            if repeated and any(part in name for part in ("out_proj", "output_dense", "linear_2")):
                tensor.zero_()
    trainer.average.load_state_dict(ours)
    return trainer


def _source_layer(name: str, layers: int, source_layers: int) -> tuple[str, bool]:
    """Name of the weight that one is filled with, and whether an earlier layer has it too."""
    if not name.startswith("layers."):
        return name, False
    _, layer, rest = name.split(".", 2)
    index = int(layer) * source_layers // layers
    repeated = int(layer) > 0 and (int(layer) - 1) * source_layers // layers == index
    return f"layers.{index}.{rest}", repeated


def _fill(tensor: Tensor, source: Tensor, places: list[int]) -> None:
    """Copy a weight; that of a language is a row, perhaps a shorter one, to its new place."""
    if tensor.shape == source.shape:
        tensor.copy_(source)
        return
    for row, place in enumerate(places):
        tensor[place, : source.shape[1]].copy_(source[row])


def trained(point: Point, checkpoint: Path, target: Path, store: ClipStore, steps: int) -> Trainer:
    """Train a point, or what is left of it."""
    if target.exists():
        trainer = Trainer.load(target)
    else:
        start = published_trainer(checkpoint)
        vocab = start.vocab
        if point.others:
            vocab = dict(sorted({**build_vocab(store.clips), **start.vocab}.items()))
        trainer = resized(start, point.layers or start.config.layers, vocab)
        trainer.keep_convolutions()
        trainer.cooldown = [trainer.step, trainer.step + steps]
    if trainer.step < trainer.cooldown[1]:
        run(trainer, store, target)
    return trainer


def measured(trainer: Trainer, store: ClipStore) -> dict[str, object]:
    """Hours, speakers and parameters of a point, and its error rates on the demo's languages."""
    batches = TrainingBatches(store, trainer.vocab)
    heard = [
        index
        for (kind, _), pool in batches.pools.items()
        if kind == "multispeaker"
        for index in pool.indices
    ]
    clips = [store.clips[index] for index in heard]
    five = {lang: trainer.vocab[lang] for lang in LANGUAGES}
    return {
        "hours": round(sum(clip.samples for clip in clips) / SAMPLE_RATE / 3600, 2),
        "speakers": len({clip.voice for clip in clips}),
        "layers": trainer.config.layers,
        "parameters": sum(weight.numel() for weight in trainer.model.parameters()),
        "strangers": with_average(rates(trainer.average, store, five, ("multispeaker", "leftout"))),
        "announcers": with_average(rates(trainer.average, store, five, ("real", "heldout"))),
    }


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Folder of the checkpoint to start from, which has heard none of the speakers.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the states.")
@click.option("--steps", type=int, default=2000, show_default=True, help="Steps of every point.")
def main(cache: Path, checkpoint: Path, out: Path, steps: int) -> None:
    """Train the points one after the other, and write curve.json."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    out.mkdir(parents=True, exist_ok=True)
    give_way()
    share_cores()
    path = out / "curve.json"
    curve = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for point in POINTS:
        if point.name in curve:
            continue
        store = SomeSpeakers(point.share, cache)
        trainer = trained(point, checkpoint, out / f"{point.name}.pt", store, steps)
        if trainer.step < trainer.cooldown[1]:
            return  # stopped by a signal
        curve[point.name] = measured(trainer, store)
        click.echo(f"{point.name}: {json.dumps(curve[point.name])}")
        with open_output(path) as stream:
            stream.write(json.dumps(curve, indent=2) + "\n")


if __name__ == "__main__":
    main()
