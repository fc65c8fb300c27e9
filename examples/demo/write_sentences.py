"""Write `sentences.tsv`: what the real recordings of the training say, for language models.

Run it as python -m examples.demo.write_sentences, beside the cache of the training.
"""

from pathlib import Path

import click
from examples.demo.prepare import CACHE, read_manifest

TABLE = Path(__file__).parent / "sentences.tsv"


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
def main(cache: Path) -> None:
    """Write each sentence once, none of them held out."""
    clips = read_manifest(cache / "real.tsv")
    rows = sorted({(clip.lang, clip.text) for clip in clips if clip.split == "train"})
    lines = ["lang\ttext", *("\t".join(row) for row in rows)]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
