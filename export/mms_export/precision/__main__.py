"""The command `python -m mms_export.precision`.

    python -m mms_export.precision survey BUNDLE --clips examples/demo/clips/clips.tsv --json FILE
    python -m mms_export.precision report FILE… --update docs/precision.md --chart IMAGE.svg

The bundle needs the precisions fp32, fp16 and bf16.
"""

import sys
from pathlib import Path

import click

from mms_engine.bundle import open_bundle
from mms_engine.errors import MmsError
from mms_export.progress import Reporter

HIGHEST_GAIN = 20


@click.group()
def main() -> None:
    """Measure what rounding does to a bundle's graphs."""


@main.command("survey", context_settings={"show_default": True})
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clips", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--seconds", type=click.FloatRange(min=0.1), default=10.0, help="Of each clip.")
@click.option("--step", type=click.IntRange(1, HIGHEST_GAIN), default=1, help="Of log2(gain).")
@click.option("--to", "highest", type=click.IntRange(1, HIGHEST_GAIN), default=HIGHEST_GAIN)
@click.option("--formats/--no-formats", default=True, help="Sums in fp16, 8-bit weights; slow.")
@click.option("--json", "out", type=click.Path(path_type=Path, dir_okay=False), required=True)
def survey_command(
    bundle: Path, clips: Path | None, out: Path, *, formats: bool, **numbers: float
) -> None:
    """Run the graphs of BUNDLE in every arithmetic, and write what comes out.

    --clips is a table with the columns file and lang; without it, ten seconds of real speech.
    """
    from mms_export.precision.clips import read_clips  # torch is heavy
    from mms_export.precision.result import encode
    from mms_export.precision.survey import SurveyOptions, survey

    opened = open_bundle(bundle)
    exponents = range(0, int(numbers["highest"]) + 1, int(numbers["step"]))
    options = SurveyOptions(gains=tuple(2.0**exponent for exponent in exponents), formats=formats)
    speech = read_clips(opened, clips, numbers["seconds"])
    out.write_bytes(encode(survey(opened, speech, options, Reporter())))
    click.echo(str(out))


@main.command()
@click.argument(
    "results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--update", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--chart", type=click.Path(path_type=Path, dir_okay=False), help="SVG to write.")
def report(results: tuple[Path, ...], update: Path | None, chart: Path | None) -> None:
    """Put the tables of RESULTS into a page, and draw them."""
    from mms_export.precision.chart import draw  # matplotlib is heavy
    from mms_export.precision.page import updated
    from mms_export.precision.result import decode

    surveys = {path.name: decode(path.read_bytes(), where=str(path)) for path in results}
    if update:
        update.write_text(updated(update.read_text(encoding="utf-8"), surveys), encoding="utf-8")
    if chart:
        draw(list(surveys.values()), chart)


if __name__ == "__main__":
    try:
        main()
    except MmsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
