"""Turn a training state into a checkpoint folder in the layout of facebook/mms-1b-all.

python -m examples.demo.publish [--state FILE] [--out FOLDER]
"""

import logging
import shutil
import tempfile
from pathlib import Path

import click
import torch
from examples.demo.layout import write_checkpoint
from examples.demo.model import AcousticModel, ModelConfig
from examples.demo.prepare import CACHE, read_manifest
from examples.demo.vocab import NestedVocab, build_vocab

logger = logging.getLogger(__name__)

CHECKPOINT = Path(__file__).parent / "checkpoint"


def load_weights(
    state_file: Path, *, averaged: bool = True
) -> tuple[dict[str, torch.Tensor], ModelConfig, NestedVocab]:
    """Return weights (the running average, or the last), config and vocabulary of a state."""
    saved = torch.load(state_file, map_location="cpu", weights_only=True)
    config = ModelConfig(**saved["config"])
    return saved["average" if averaged else "model"], config, saved["vocab"]


def replace_folder(new: Path, target: Path) -> None:
    """Move `new` to `target` so that a reader sees the old files or the new, never half a file."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(new.iterdir()):
        file.replace(target / file.name)


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=CACHE / "cooldown.pt")
@click.option("--out", type=click.Path(path_type=Path), default=CHECKPOINT)
@click.option("--last", is_flag=True, help="The last weights instead of their running average.")
@click.option("--random", "untrained", is_flag=True, help="Untrained weights, as a placeholder.")
def main(state: Path, out: Path, *, last: bool, untrained: bool) -> None:
    """Write the checkpoint folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if untrained:
        vocab = build_vocab(read_manifest(CACHE / "real.tsv"))
        config = ModelConfig(tuple(vocab), tuple(map(len, vocab.values())))
        torch.manual_seed(0)
        weights = AcousticModel(config).state_dict()
    else:
        weights, config, vocab = load_weights(state, averaged=not last)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=".publish-"))
    try:
        write_checkpoint(scratch, weights, config, vocab)
        for file in scratch.iterdir():
            file.chmod(0o644)
        replace_folder(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    size = sum(file.stat().st_size for file in out.iterdir())
    click.echo(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
