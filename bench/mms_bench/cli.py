"""The command `mms-bench`. What a subcommand needs, it imports itself."""

import time
from pathlib import Path
from typing import Any

import click

from mms_engine.cli.options import MAX_THREADS
from mms_engine.cli.program import FiniteFloat, Program
from mms_engine.formats.output import check_output, open_output
from mms_engine.types import BACKEND_NAMES, DEVICES

SENTENCE = "the river was high after the rain and the old bridge had been closed since the morning"
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_SETTINGS = {
    "show_default": True,
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


@click.group(cls=Program, context_settings=_SETTINGS)
@click.version_option(package_name="mms-engine", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:
    """Benchmark the exporter, the engine and the kernels beside their peers."""


@main.command(short_help="Run a suite and print the report.")
@click.argument("suite", type=click.Choice(["accuracy", "asr", "ctc", "export", "stream", "tts"]))
@click.option("--peers", default="all", help="Comma-separated implementations, or all.")
@click.option(
    "--checkpoint",
    type=_FOLDER,
    help="Model in the layout of facebook/mms-1b-all; for the suite tts a voice in that of "
    "facebook/mms-tts-eng, or a folder of such.  [default: that of the demo]",
)
@click.option("--bundle", type=_FOLDER, help="Bundle exported from the checkpoint.")
@click.option(
    "--audio",
    type=_FILE,
    multiple=True,
    help="Speech to measure on; may be repeated.  [default: a clip of English]",
)
@click.option(
    "--recordings",
    type=_FILE,
    help="Tab-separated list with the columns file, lang and text, for the suite stream.  "
    "[default: the demo's clips]",
)
@click.option(
    "--identifier",
    type=_FOLDER,
    help="Bundle of language identification: clients of the suite stream are also measured with "
    "the language auto.",
)
@click.option(
    "--languages",
    default="",
    show_default=False,
    help="Comma-separated language codes; peers with one language take the first.  "
    "[default: set by the suite]",
)
@click.option(
    "--cases",
    default="",
    show_default=False,
    help="Comma-separated cases of the suite.  [default: all]",
)
@click.option(
    "--text",
    default=SENTENCE,
    help="Sentence to speak in the suite tts: letters that the voices have.",
)
@click.option("--seconds", default=10.0, type=FiniteFloat(0.1), help="Length of a clip in seconds.")
@click.option("--batch", default=8, type=click.IntRange(2), help="Rows of a batch.")
@click.option(
    "--threads",
    default=2,
    type=click.IntRange(1, MAX_THREADS),
    help="Threads of an implementation on a CPU.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="CORPUS",
    help="Corpus of the suite accuracy; may be repeated: fleurs:FOLDER, fleurs:CODE,… such as "
    "fleurs:sw_ke (of the hub), commonvoice:FOLDER, datasets:NAME[:CONFIG], or a tab-separated "
    "table with the columns file, lang and text, and perhaps speaker and split.  "
    "[default: the demo's clips]",
)
@click.option(
    "--models",
    default="",
    show_default=False,
    metavar="BUNDLE,…",
    help="Comma-separated bundles of the suite accuracy.  [default: --bundle]",
)
@click.option("--split", default="test", help="Split of the corpora.")
@click.option("--limit", type=click.IntRange(1), help="Most clips of a language.  [default: all]")
@click.option(
    "--lm",
    type=_FOLDER,
    help="Folder of language models for the suite accuracy, such as eng.arpa.gz: every model is "
    "measured with beam search too.",
)
@click.option(
    "--whisper", default="small", help="Model of faster-whisper: a name of the hub, or a folder."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Keep the transcripts that an interrupted run of the suite accuracy left.",
)
@click.option(
    "--device", default="cpu", type=click.Choice(DEVICES[1:]), help="Device of the model."
)
@click.option(
    "--backend",
    type=click.Choice(BACKEND_NAMES),
    help="Backend of the engine.  [default: the first that works on the device]",
)
@click.option(
    "--min-time",
    type=FiniteFloat(0),
    help="Minimal time of samples per implementation in seconds.  [default: set by the suite]",
)
@click.option(
    "--min-samples",
    type=click.IntRange(1),
    help="Minimal number of calls per implementation.  [default: set by the suite]",
)
@click.option(
    "--warmup",
    type=FiniteFloat(0),
    help="Warm-up per implementation in seconds.  [default: set by the suite]",
)
@click.option("--seed", default=0, type=int, help="Seed of the order of turns.")
@click.option("--json", "out", type=_PATH, help="File to write the result to.")
def run(suite: str, out: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Run SUITE (accuracy, asr, ctc, export, stream or tts) and print the report as Markdown."""
    from mms_bench.report.markdown import render
    from mms_bench.run.result import save
    from mms_bench.run.session import run_suite
    from mms_bench.suites import load_suite

    chosen = load_suite(suite)
    if out is not None:
        check_output(out)
    start = time.monotonic()

    def tell(line: str) -> None:
        click.echo(f"{time.monotonic() - start:7.1f} s  {line}", err=True)

    result = run_suite(chosen, chosen.options(given), tell)
    if out is not None:
        save(result, out)
    click.echo(render(result))


@main.command(short_help="Print results as Markdown, or write a page with plots.")
@click.argument("paths", nargs=-1, required=True, type=_FILE)
@click.option("--html", "page", type=_PATH, help="HTML file to write, with plots.")
@click.option("--update", type=_FILE, help="Markdown document whose tables are rewritten.")
@click.option("--chart", type=_PATH, help="SVG file to write the first case to.")
def report(
    paths: tuple[Path, ...], page: Path | None, update: Path | None, chart: Path | None
) -> None:
    """Print the result files PATHS as Markdown."""
    from mms_bench.report import html, markdown
    from mms_bench.run.result import load

    outputs = [path for path in (page, chart) if path is not None]
    for path in outputs:
        check_output(path, inputs=paths)
    results = [load(path) for path in paths]
    texts = [markdown.render(result) for result in results]
    if page is not None:
        _write(page, html.render(results).encode(), paths)
    if chart is not None:
        _write(chart, html.first_picture(results), paths)
    if update is not None:
        markdown.update(update, dict(zip((path.name for path in paths), texts, strict=True)))
    click.echo("\n\n".join(texts))


def _write(path: Path, content: bytes, inputs: tuple[Path, ...] = ()) -> None:
    with open_output(path, inputs=inputs, binary=True) as stream:
        stream.write(content)


@main.command(short_help="Check MMS's checkpoints against published results.")
@click.option(
    "--model",
    default="facebook/mms-1b-all",
    help="Checkpoint of mms-1b-all: a folder or the id of a hub repository.",
)
@click.option(
    "--golden",
    type=_PATH,
    envvar="MMS_GOLDEN",
    default=Path("../shared/data/golden"),
    help="Folder of its golden output.",
)
@click.option("--limit", type=click.IntRange(1), help="Most clips of a language.  [default: all]")
def accept(model: str, golden: Path, limit: int | None) -> None:
    """Check the default models and MMS's checkpoints against published results.

    Fetched from the hub unless they are in its cache: mms-1b-all, for its golden output and ten
    languages of FLEURS; a model of identification; a voice. What cannot be fetched is named. Exit
    status 1 if a check fails.
    """
    from mms_bench.acceptance.checks import Acceptance

    def tell(line: str) -> None:
        click.echo(line, err=True)

    failed = False
    for outcome in Acceptance(model, golden, limit, tell).run():
        failed |= outcome.status == "failed"
        reason = f": {outcome.reason}" if outcome.reason else ""
        click.echo(f"{outcome.status:<12} {outcome.check}{reason}")
    raise SystemExit(int(failed))


@main.command()
def machine() -> None:
    """Print this machine's description as it is stored in results."""
    from mms_bench.report.markdown import machine_facts
    from mms_bench.run.machine import describe_machine, describe_versions

    click.echo("\n".join(machine_facts(describe_machine(), describe_versions())))


@main.command(short_help="Print lower bounds on the time of a run on GPUs.")
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
        _write(chart, tables.chart(model))
    if update is not None:
        markdown.update(update, {"roofline": text})
    click.echo(text)


if __name__ == "__main__":
    main()
