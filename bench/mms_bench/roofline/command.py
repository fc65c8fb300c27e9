"""`mms-bench roofline`."""

from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.option("--bundle", type=_FOLDER, help="Take the sizes of its model; else of mms-1b-all.")
@click.option("--gpus", default="", help="Keys of the table, separated by commas; else all.")
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="Audio in a row.")
@click.option("--batches", default="1,8,32", help="Rows of a run, separated by commas.")
@click.option("--chunk", default=0.5, type=click.FloatRange(0.02), help="Seconds between runs.")
@click.option("--window", default=4.0, type=click.FloatRange(0.1), help="Seconds heard in each.")
@click.option(
    "--measure", type=_FOLDER, multiple=True, help="Hold the model against this bundle's times."
)
@click.option("--threads", default=2, type=click.IntRange(1), help="Of what is measured.")
@click.option("--from", "source", type=_FILE, help="Show this file instead of working it out.")
@click.option("--json", "out", type=_PATH, help="File to write the result to.")
@click.option("--chart", type=_PATH, help="Write a picture (SVG).")
@click.option("--update", type=_FILE, multiple=True, help="Rewrite the tables of a document.")
def roofline(
    source: Path | None,
    out: Path | None,
    chart: Path | None,
    update: tuple[Path, ...],
    **given: Any,  # noqa: ANN401
) -> None:
    """Print what GPUs allow at most, from data sheets, and how near the model comes to this CPU."""
    from mms_bench.roofline import document, tables
    from mms_bench.roofline.answer import answer

    found = document.load(source) if source is not None else answer(given)
    if out is not None:
        document.save(found, out)
    if chart is not None:
        _draw(found, chart)
    name = (out or source or Path("roofline.json")).name
    for path in update:
        tables.update(path, found, name)
    click.echo(tables.render(found))


def _draw(found: Any, path: Path) -> None:  # noqa: ANN401 - imported late, as all that is heavy
    from mms_bench.errors import BenchError

    try:
        from mms_bench.roofline.chart import draw
    except ImportError as error:
        raise BenchError(
            "the chart needs matplotlib: pip install 'mms-engine[bench]', or leave out --chart"
        ) from error
    path.write_bytes(draw(found))
