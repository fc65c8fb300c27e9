"""`mms-bench roofline`: lower bounds of GPUs as a Markdown table and as a chart."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(short_help="Print lower bounds on the time of a run on GPUs.")
@click.option("--bundle", type=_FOLDER, help="Bundle of the model.  [default: mms-1b-all's sizes]")
@click.option("--chart", type=_PATH, help="SVG file to write a chart to.")
@click.option("--update", type=_FILE, help="Markdown document whose table is rewritten.")
def roofline(bundle: Path | None, chart: Path | None, update: Path | None) -> None:
    """Print lower bounds on the time of a run on GPUs, from their data sheets.

    Nothing is measured. The table of GPUs is bench/mms_bench/roofline/gpus.toml.
    """
    from mms_bench.report import markdown
    from mms_bench.roofline import tables

    model = tables.Model.open(bundle)
    text = tables.bounds(model)
    if chart is not None:
        chart.write_bytes(tables.chart(model))
    if update is not None:
        markdown.update(update, {"roofline": text})
    click.echo(text)
