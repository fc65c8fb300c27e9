"""Error rates of new languages trained on the demo model, against the updates of the weights.

    python -m examples.demo.new_language --speech FOLDER --out FOLDER

Trains an adapter for each of some languages of the multi-speaker set that the demo model has never
heard, once from the nearest of its languages and once fresh, and draws the error rates on speakers
held out. A stopped run goes on where it was. The folder is described in `multispeaker`.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
from examples.demo.multispeaker import SPEECH
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

LANGUAGES = {"roh": "Romansh", "fas": "Persian", "vie": "Vietnamese"}
STARTS = ("nearest", "fresh")
COURSE = ("--steps", "160", "--rate", "3e-3", "--batch-seconds", "20", "--evaluate", "40")
COLOURS = ("#0b7285", "#e8590c", "#5f3dc4")
PICTURE = Path(__file__).parents[2] / "docs/new-language.svg"
mpl.rcParams.update({"svg.hashsalt": "mms", "svg.fonttype": "none"})


def write_manifest(speech: Path, language: str, path: Path) -> None:
    """Write the clips of a language, of both sides of the set's own split, as a manifest."""
    with (
        (speech / "metadata.tsv").open(encoding="utf-8", newline="") as table,
        path.open("w", encoding="utf-8") as manifest,
    ):
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["lang"] == language:
                audio = str(speech / row["file"])
                line = {"audio_filepath": audio, "text": row["text"], "speaker": row["speaker"]}
                manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


def trained(manifest: Path, language: str, start: str, out: Path) -> dict[str, Any]:
    """Train a language, and return its sidecar."""
    program = "from mms_export.cli.train import main; main()"
    given = [str(manifest), "--base", "demo", "--lang", language, "--from", start, "--json"]
    more = ["--out", str(out), "--held-out", "0.15", "--patience", "99", *COURSE]
    command = [sys.executable, "-c", program, *given, *more]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    sidecar: dict[str, Any] = json.loads(result.stdout)
    return sidecar


def draw(sidecars: dict[tuple[str, str], dict[str, Any]], path: Path) -> None:
    """Draw the error rates as SVG, the same bytes each time."""
    picture = Figure(figsize=(7, 4), layout="constrained")
    axes = picture.add_subplot()
    for (language, start), sidecar in sidecars.items():
        colour = COLOURS[list(LANGUAGES).index(language)]
        history, source = sidecar["history"], sidecar["start"]
        axes.plot(
            [found["step"] for found in history],
            [found["cer"] for found in history],
            "o-" if start == "nearest" else "o--",
            color=colour,
            label=f"{LANGUAGES[language]}, {f'from {source}' if source else start}",
        )
    axes.set(xlabel="updates of the weights, 20 s of speech each", ylabel="CER, held-out speakers")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(bottom=0)
    axes.grid(color="#e9ecef")
    axes.legend(frameon=False)
    picture.savefig(path, metadata={"Date": None})


@click.command()
@click.option("--speech", type=click.Path(path_type=Path, exists=True), default=SPEECH)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(speech: Path, out: Path) -> None:
    """Train, print the final error rates, and draw docs/new-language.svg."""
    out.mkdir(parents=True, exist_ok=True)
    sidecars = {}
    for language in LANGUAGES:
        manifest = out / f"{language}.jsonl"
        write_manifest(speech, language, manifest)
        for start in STARTS:
            found = trained(manifest, language, start, out / f"{language}-{start}")
            sidecars[language, start] = found
            rates = f"CER {found['held_out_cer']}, WER {found['held_out_wer']}"
            click.echo(f"{language} {start} ({found['start'] or '-'}): {rates}")
    draw(sidecars, PICTURE)


if __name__ == "__main__":
    main()
