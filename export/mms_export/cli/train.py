"""Definition of `mms-train`. Heavy imports are deferred, so that `--help` is instant."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from mms_engine.cli.program import FiniteFloat, ProgramCommand, SectionedCommand, section
from mms_engine.errors import MmsError
from mms_engine.system import demo_bundle, printable
from mms_export.cli.command import DEFAULT_MODEL, DEMOS
from mms_export.cli.corpus_options import CorpusChoice, corpus_options
from mms_export.cli.progress import Reporter

if TYPE_CHECKING:
    from mms_export.training.folder import Sidecar
    from mms_export.training.report import Report
    from mms_export.training.run import TrainingDisplay, TrainRequest
    from mms_export.training.trainer import Evaluation

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EXAMPLES = """\b
Examples:
  mms-train recordings/ --lang xyz --check
  mms-train recordings/ --lang xyz --base demo
  mms-train cv-corpus/validated.tsv --lang xyz --from swh --bundle bundles/mms-1b-all
  mms-train story.eaf --tier utterance --lang xyz
"""
_model, _course, _output = section("Model"), section("Training"), section("Output")
_COURSE = ("steps", "rate", "seconds", "evaluate", "patience")
"""Options that are fields of `TrainingOptions`."""


class _Train(ProgramCommand, SectionedCommand):
    interrupted = "interrupted: run the same command again to continue"


@click.command(cls=_Train, context_settings=_SETTINGS, epilog=_EXAMPLES)
@click.argument("corpus", type=click.Path(path_type=Path, exists=True))
@_model(
    "--lang",
    "language",
    required=True,
    metavar="CODE",
    help="Code of the language, such as that of ISO 639-3.",
)
@_model(
    "--base",
    default=DEFAULT_MODEL,
    show_default=True,
    help="Base model: demo, a folder, or a hub id.",
)
@_model(
    "--from",
    "start",
    default="nearest",
    show_default=True,
    metavar="CODE",
    help="Language of the base model whose adapter to start from; nearest for the one with the "
    "most similar alphabet, fresh for none.",
)
@corpus_options
@_course(
    "--steps",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Updates of the weights, at most.",
)
@_course(
    "--rate",
    type=FiniteFloat(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Largest learning rate.",
)
@_course(
    "--batch-seconds",
    "seconds",
    type=FiniteFloat(min=1),
    default=60.0,
    show_default=True,
    help="Speech of an update, in seconds. Memory does not depend on it.",
)
@_course(
    "--evaluate",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Updates between evaluations.",
)
@_course(
    "--patience",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Evaluations without a better error rate after which training ends.",
)
@_course("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed.")
@_course(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device; auto is the GPU if torch finds one.",
)
@_course(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    help="Number format.  [default: bf16 where the processor multiplies it fast, else fp32]",
)
@_output(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the adapter.  [default: adapters/CODE]",
)
@_output(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Bundle of the base model to which the language is added.  [default: of the demo, that in "
    "the user's cache folder, if it is there]",
)
@_output("--check", is_flag=True, help="Print the report of the corpus, and do not train.")
@_output(
    "--replace",
    is_flag=True,
    help="Replace an adapter, or an unfinished training, of other recordings, texts or options.",
)
@_output("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_output("--quiet", is_flag=True, help="Hide progress.")
@_output("--debug", is_flag=True, help="Print the traceback of an error.")
@click.version_option(package_name="mms-engine", message="%(package)s %(version)s")
def main(
    *,
    corpus: Path,
    choice: CorpusChoice,
    language: str,
    base: str,
    seed: int,
    out: Path | None,
    bundle: Path | None,
    check: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,  # noqa: ARG001 - read by ProgramCommand
    **values: Any,  # noqa: ANN401
) -> None:
    """Train an adapter of MMS for a language, from recordings and their texts.

    CORPUS is a manifest of mms segment or NeMo, a table of Common Voice, a folder with
    metadata.csv or metadata.jsonl, or documents of ELAN or Praat.

    Speakers held out of the training measure it. The language is added to a bundle, so that mms
    knows it at once. An interrupted training continues where it stopped.
    """
    from mms_export.checkpoints.selection import checked_code

    language = checked_code(language)
    progress = TrainingReporter(quiet=quiet)
    with progress.clips("reading the corpus") as advance:
        report = choice.examine(corpus, language, seed=seed, progress=advance)
    choice.draw(report)
    _show_report(report, as_json=as_json, check=check, quiet=quiet)
    if check:
        return
    try:
        import jiwer  # noqa: F401 - of the first evaluation

        from mms_export.training.run import TrainRequest, train
        from mms_export.training.trainer import TrainingOptions
    except ModuleNotFoundError as error:
        raise MmsError(
            f"training needs the package {error.name}: pip install 'mms-engine[train]'"
        ) from error

    course = {name: values.pop(name) for name in _COURSE}
    request = TrainRequest(
        base=base,
        out=out or Path("adapters") / language,
        bundle=bundle or _default_bundle(base),
        options=TrainingOptions(seed=seed, **course),
        **values,
    )
    sidecar = train(report, request, progress)
    if as_json:
        click.echo(json.dumps(_summary(sidecar, request)))
    else:
        click.echo(_sentences(sidecar, request))


def _default_bundle(base: str) -> Path | None:
    """Return the bundle of a demo in the user's cache folder, if it is there."""
    folder = demo_bundle(base)
    return folder if base in DEMOS and folder.is_dir() else None


def _show_report(report: "Report", *, as_json: bool, check: bool, quiet: bool) -> None:
    """Print the report of a corpus, as the result if that is all that is asked for."""
    from mms_export.training.report_formats import report_json, report_text

    if check:
        click.echo(report_json(report) if as_json else report_text(report), nl=False)
    elif not quiet:
        click.echo(report_text(report), err=True)
    if check and report.faults:
        raise click.ClickException("; ".join(report.faults))


def _summary(sidecar: "Sidecar", request: "TrainRequest") -> dict[str, object]:
    bundle = request.bundle and printable(str(request.bundle))
    return asdict(sidecar) | {"folder": printable(str(request.out)), "bundle": bundle}


def _sentences(sidecar: "Sidecar", request: "TrainRequest") -> str:
    code, out, bundle = sidecar.language, request.out, request.bundle
    start = f"from {sidecar.start}" if sidecar.start else "fresh"
    wrong = f"{100 * sidecar.held_out_cer:.1f} % of the characters wrong"
    minutes = f"{sidecar.held_out_minutes:.1f} minutes held out"
    lines = [f"{out}: {code}, {start}, after {sidecar.step} updates, {wrong} in {minutes}"]
    if bundle is None:
        bundle = Path("BUNDLE")
        lines.append(f"Add it: mms-export --model {out} --lang {code} --out {bundle}")
    option = "" if bundle == demo_bundle() else f" --bundle {bundle}"
    return "\n".join([*lines, f"Use it: mms transcribe FILE --lang {code}{option}"])


class TrainingReporter(Reporter):
    """Progress of a training on stderr."""

    @contextlib.contextmanager
    def clips(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """Show a step over clips, whose number is known later, and yield its callback."""
        if self._quiet:
            yield lambda _, __: None
            return
        with tqdm(desc=label, unit="clip", disable=not sys.stderr.isatty(), leave=False) as bar:

            def advance(count: int, total: int) -> None:
                bar.total = total
                bar.update(count)

            yield advance

    @contextlib.contextmanager
    def updates(
        self, steps: int, history: "Sequence[Evaluation]", done: int
    ) -> "Iterator[TrainingDisplay]":
        """Show the updates, of which some were done before."""
        is_hidden = self._quiet or not sys.stderr.isatty()
        with tqdm(
            desc="training",
            total=steps,
            initial=done,
            unit="update",
            dynamic_ncols=True,
            disable=is_hidden,
        ) as bar:
            display = _Updates(bar, lines=is_hidden and not self._quiet)
            if history:
                display.cer = history[-1].cer
            yield display


class _Updates:
    """Bar of the updates with loss and error rate; without a terminal, a line an evaluation."""

    def __init__(self, bar: "tqdm[Any]", *, lines: bool) -> None:
        self._bar, self._lines = bar, lines
        self._loss: float | None = None
        self.cer: float | None = None

    def on_step(self, loss: float) -> None:
        """Show the loss, as a running mean, and the error rate."""
        self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
        cer = "" if self.cer is None else f", CER {100 * self.cer:.1f} %"
        self._bar.set_postfix_str(f"loss {self._loss:.2f}{cer}", refresh=False)
        self._bar.update(1)

    def on_evaluation(self, found: "Evaluation") -> None:
        """Show an evaluation."""
        self.cer = found.cer
        if self._lines:
            click.echo(
                f"update {found.step}: loss {found.loss:.3f}, CER {100 * found.cer:.1f} %, WER "
                f"{100 * found.wer:.1f} %" + (" (no text yet)" if found.is_blank else ""),
                err=True,
            )
