"""`mms-bench`: measure, report, describe the machine."""

import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from mms_bench.roofline.command import roofline
from mms_engine.errors import MmsError
from mms_engine.types import BACKEND_NAMES, DEVICES

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


class _Group(click.Group):
    """Turns errors into one line and the exit status of the house."""

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run a command."""
        signal.signal(signal.SIGTERM, _terminated)
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            context.exit(130)
        except MmsError as error:
            if context.params["debug"]:
                raise
            click.echo(f"mms-bench: {error}", err=True)
            context.exit(1)


def _terminated(number: int, _: object) -> NoReturn:
    """End as Ctrl-C does, so that no worker is left."""
    sys.exit(128 + number)


@click.group(cls=_Group, context_settings={"show_default": True})
@click.version_option(package_name="mms-engine")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:
    """Measure the exporter, the engine and the kernels beside their peers."""


@main.command()
@click.argument("suite", type=click.Choice(["asr", "ctc", "export", "stream"]))
@click.option("--peers", default="all", help="Implementations, separated by commas, or all.")
@click.option("--checkpoint", type=_FOLDER, help="Model in the layout of facebook/mms-1b-all.")
@click.option("--bundle", type=_FOLDER, help="Bundle exported from the checkpoint.")
@click.option("--demo-bundle", type=_PATH, help="Bundle for the cold start.")
@click.option(
    "--audio",
    type=_FILE,
    multiple=True,
    help="Speech to measure on; may be repeated.",
)
@click.option("--recordings", type=_FILE, help="List with the columns file, lang, text.")
@click.option("--languages", default="", help="Codes, separated by commas; the first is baked in.")
@click.option("--cases", default="", help="Cases of the suite, separated by commas; else all.")
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="Length of a clip.")
@click.option("--batch", default=8, type=click.IntRange(2), help="Rows of a batch.")
@click.option("--threads", default=2, type=click.IntRange(1), help="Threads of matrix products.")
@click.option("--device", default="cpu", type=click.Choice(DEVICES[1:]), help="What to run on.")
@click.option(
    "--backend",
    type=click.Choice(BACKEND_NAMES),
    help="What the engine runs on it with; else its own choice.",
)
@click.option("--min-time", type=click.FloatRange(0), help="Seconds of samples; else what suits.")
@click.option("--min-samples", type=click.IntRange(1), help="Calls; else what suits the suite.")
@click.option("--warmup", type=click.FloatRange(0), help="Seconds; else what suits the suite.")
@click.option("--seed", default=0, type=int, help="Of the order of turns.")
@click.option("--json", "out", type=_PATH, help="File to write the result to.")
def run(suite: str, out: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Measure SUITE and print the report."""
    from mms_bench.choices import run_options
    from mms_bench.progress import Progress
    from mms_bench.report.markdown import render
    from mms_bench.schema import save
    from mms_bench.session import command_line, run_suite
    from mms_bench.suites import SUITES

    chosen = SUITES[suite]()
    options = run_options(chosen, given)
    progress = Progress(sys.stderr)
    try:
        result = run_suite(chosen, options, command_line(), progress)
    finally:
        progress.close()
    if out is not None:
        save(result, out)
    click.echo(render(result))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=_FILE)
@click.option("--html", type=_PATH, help="Write a page with plots that needs no other file.")
@click.option("--update", type=_FILE, help="Rewrite the tables between the markers of a document.")
@click.option("--chart", type=_PATH, help="SVG to write, of the first case.")
def report(
    paths: tuple[Path, ...], html: Path | None, update: Path | None, chart: Path | None
) -> None:
    """Print the results in PATHS as Markdown."""
    from mms_bench.report import documents, html_page, markdown
    from mms_bench.schema import load

    results = [load(path) for path in paths]
    texts = [markdown.render(result) for result in results]
    if html is not None:
        html.write_text(html_page.render(results), encoding="utf-8")
    if chart is not None:
        chart.write_bytes(html_page.first_picture(results))
    if update is not None:
        documents.update(update, dict(zip((path.name for path in paths), texts, strict=True)))
    click.echo("\n\n".join(texts))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def machine(*, as_json: bool) -> None:
    """Print what a result says of this machine."""
    import msgspec

    from mms_bench.machine import describe_machine, describe_versions
    from mms_bench.report.content import machine_facts

    found = describe_machine()
    if as_json:
        document = {"machine": found, "versions": describe_versions()}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=1))
    else:
        click.echo("\n".join(machine_facts(found, describe_versions())))


main.add_command(roofline)


if __name__ == "__main__":
    main()
