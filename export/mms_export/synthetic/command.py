"""Definition of `python -m mms_export.synthetic`."""

import json
from pathlib import Path

import click

from mms_engine.system import usable_cores
from mms_export.checkpoints.config import (
    parse_classifier_config,
    parse_config,
    parse_pretrained_config,
)
from mms_export.cli.progress import Reporter
from mms_export.synthetic.voices import write_voices
from mms_export.synthetic.wav2vec2 import (
    TEMPLATE,
    classifier_document,
    pretrained_document,
    write_checkpoint,
    write_whole,
)
from mms_export.variants import VARIANTS


@click.command(context_settings={"show_default": True})
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the checkpoint.",
)
@click.option(
    "--languages",
    "count",
    type=click.IntRange(1, 17000),
    default=3,
    help="Number of languages.",
)
@click.option(
    "--layers", type=click.IntRange(min=1), default=48, help="Number of transformer layers."
)
@click.option(
    "--hidden-size",
    type=click.IntRange(16, 4096),
    default=1280,
    help="Size of the residual stream, a multiple of 16.",
)
@click.option(
    "--channels", type=click.IntRange(1, 4096), default=512, help="Channels of the convolutions."
)
@click.option(
    "--variant",
    type=click.Choice(sorted(VARIANTS)),
    show_default=False,
    help="Layout of the checkpoint, with English only.  [default: that of facebook/mms-1b-all, "
    "with every language]",
)
@click.option(
    "--labels",
    type=click.IntRange(2, 4017),
    show_default=False,
    help="Number of labels of a model of language identification.  [default: a model of speech "
    "recognition]",
)
@click.option(
    "--pretrained",
    is_flag=True,
    help="Write a pretrained network without a head, as facebook/mms-1b.",
)
@click.option(
    "--voices",
    type=click.IntRange(1, 17000),
    show_default=False,
    help="Number of voices of the size of facebook/mms-tts-*, a folder each, without the weights "
    "that only training uses.  [default: a model of speech recognition]",
)
@click.option(
    "--sparse",
    is_flag=True,
    help="Write voices of zeros that take no room on the disk, for --dry-run.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=usable_cores, help="Number of processes."
)
def main(
    *,
    out: Path,
    count: int,
    layers: int,
    hidden_size: int,
    channels: int,
    variant: str | None,
    labels: int | None,
    pretrained: bool,
    voices: int | None,
    sparse: bool,
    jobs: int,
) -> None:
    """Write a random checkpoint of the size of facebook/mms-1b-all (3.9 GB, 9 MB per language)."""
    if sum(map(bool, (labels, variant, pretrained, voices))) > 1:
        raise click.UsageError("--labels, --pretrained, --variant and --voices exclude each other")
    out.mkdir(parents=True, exist_ok=True)
    if voices:
        with Reporter().step("synthetic voices", voices, "voice") as advance:
            for _ in write_voices(out, voices, jobs, sparse=sparse):
                advance(1)
        click.echo(str(out))
        return
    document = json.loads((TEMPLATE / "config.json").read_text())
    document |= {
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "intermediate_size": 4 * hidden_size,
        "conv_dim": [channels] * len(document["conv_dim"]),
    }
    if labels:
        document = classifier_document(document, labels)
    elif pretrained:
        document = pretrained_document(document)
    (out / "config.json").write_text(json.dumps(document, indent=2))
    if labels or pretrained:
        parse = parse_classifier_config if labels else parse_pretrained_config
        write_whole(out, parse(document, where="config.json"))
        click.echo(str(out))
        return
    config = parse_config(document, where="config.json")
    with Reporter().step("synthetic checkpoint", count + 1, "file") as advance:
        for _ in write_checkpoint(out, config, count, jobs):
            advance(1)
    click.echo(str(VARIANTS[variant](out) if variant else out))
