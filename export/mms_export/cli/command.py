"""Definition of `mms-export`. Heavy imports are deferred, so that `--help` is instant."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mms_engine.cli.program import ProgramCommand
from mms_engine.system import printable, usable_cores
from mms_export.cli.plan_options import PlanChoice, plan_options, planned_budgets, split_list

if TYPE_CHECKING:
    from mms_engine.bundle import Manifest
    from mms_export.bundle.options import ExportOptions
    from mms_export.tensorrt.options import PlanOptions

DEFAULT_MODEL = "facebook/mms-1b-all"
DEMOS = ("demo", "demo-lid", "demo-voice")
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Export(ProgramCommand):
    interrupted = "interrupted: run the same command again to continue"


def _precisions(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    if value is None:
        return None
    from mms_engine.types import PRECISIONS

    names = split_list(ctx, param, value)
    for name in names:
        if name not in PRECISIONS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(PRECISIONS)}", ctx, param)
    return tuple(names)


@click.command(cls=_Export, context_settings=_SETTINGS)
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    help="Checkpoint: demo, demo-lid (language identification), demo-voice (speech), a folder, a "
    ".pt file of fairseq, fairseq2 or torchaudio, a hub id, or the name of an Omnilingual model "
    "such as omniASR_CTC_1B_v2; for speech synthesis a voice, a folder of "
    "voices, or the beginning of hub ids such as facebook/mms-tts.",
)
@click.option(
    "--lang",
    "languages",
    default="all",
    show_default=True,
    help="Languages to include: all, or codes and globs such as eng,swh,uzb-*; the code of a model "
    "of one language.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the bundle.  [default: bundles/NAME; the user's cache folder for the demos]",
)
@click.option(
    "--precision",
    "precisions",
    metavar="LIST",
    callback=_precisions,
    help="Precisions of the graphs, of fp32,fp16,bf16,int8.  [default: those of the bundle in "
    "--out; for a new one fp32,fp16,int8; for voices fp32,fp16; for the demos fp32, with --engine "
    "also fp16]",
)
@click.option(
    "--adapter-dtype",
    "data_dtype",
    type=click.Choice(["float16", "float32"]),
    help="Dtype of the adapter files.  [default: float16; float32 for a model without adapters, "
    "whose head serves every language]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=usable_cores,
    show_default="one per core",
    help="Number of processes that convert languages.",
)
@plan_options
@click.option(
    "--triton",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also write a model repository of Triton: the graphs with the languages of --lang, and "
    "models that host the engine.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Overwrite a bundle of another model or schema in --out, and files in the place of its "
    "parts. Other files in the folder stay.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the size of each part, and the GPU memory "
    "of plans that were built before, and write nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="Hide progress.")
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
@click.version_option(package_name="mms-engine", message="%(package)s %(version)s")
def main(
    *,
    model: str,
    out: Path | None,
    precisions: tuple[Any, ...] | None,
    plan_choice: PlanChoice,
    replace: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,  # noqa: ARG001 - read by ProgramCommand
    **values: Any,  # noqa: ANN401
) -> None:
    """Convert an MMS checkpoint to a bundle: ONNX graphs, and one file per language or voice.

    The task is that of the checkpoint: speech recognition, language identification, speech
    synthesis, or embeddings of a pretrained network.

    An interrupted export continues where it stopped. Languages, precisions and plans missing from
    an existing bundle are added to it.
    """
    plans = plan_choice.options()
    from mms_export.bundle.options import ExportOptions

    options = ExportOptions(
        model=model,
        out=out or _default_out(model),
        precisions=precisions or _default_precisions(model, plans),
        plans=plans,
        # A new release brings another demo checkpoint, which replaces the one in the cache.
        replace=replace or (model in DEMOS and out is None),
        **values,
    )
    if dry_run:
        _show_parts(options, as_json=as_json)
        return
    from mms_export.bundle.pipeline import export
    from mms_export.cli.progress import Reporter

    manifest = export(options, Reporter(quiet=quiet))
    if manifest.source.notice and not quiet:
        click.echo(manifest.source.notice, err=True)
    if as_json:
        click.echo(json.dumps(_summary(options.out, manifest)))
    else:
        click.echo(_sentence(options.out, manifest))


def _default_precisions(model: str, plans: "PlanOptions | None") -> tuple[Any, ...]:
    if model not in DEMOS:
        return ()
    return ("fp32", "fp16") if plans else ("fp32",)


def _default_out(model: str) -> Path:
    from mms_engine.system import demo_bundle

    return demo_bundle(model) if model in DEMOS else Path("bundles") / Path(model).resolve().stem


def _show_parts(options: "ExportOptions", *, as_json: bool) -> None:
    from mms_export.bundle.contents import format_size, open_contents
    from mms_export.cli.progress import Reporter

    contents = open_contents(options)
    for sentence in contents.warnings:
        Reporter().warn(sentence)
    sizes = contents.all_sizes()
    total = sum(sizes.values())
    budgets = planned_budgets(options, len(contents.languages))
    if as_json:
        found = {"bundle": printable(str(options.out)), "bytes": sizes, "total": total}
        click.echo(json.dumps(found | {"gpu_memory": [asdict(one) for one in budgets]}))
        return
    width = max(24, *map(len, sizes))
    for name, size in sizes.items():
        click.echo(f"{name:{width}} {format_size(size):>10}")
    click.echo(f"{'total':{width}} {format_size(total):>10}  to {options.out}")
    if budgets:
        tables = "\n".join(map(str, budgets))
        click.echo(f"\nGPU memory, from the plans in the bundle:\n{tables}", nl=False)


def _sentence(out: Path, manifest: "Manifest") -> str:
    precisions = ", ".join(dict.fromkeys(graph.precision for graph in manifest.graphs))
    count = len(_languages(manifest))
    # A pretrained network has none.
    languages = f", {count} language{'s' * (count != 1)}" if count else ""
    targets = {
        f"; plans for {plan.runtime} {plan.runtime_version} ({plan.precision} on "
        f"{', '.join(plan.compute_capabilities)})"
        for plan in manifest.plans
    }
    return f"{out}: {manifest.source.name}{languages}, {precisions}{''.join(sorted(targets))}"


def _languages(manifest: "Manifest") -> list[str]:
    """Return the languages of the data files, or the labels of language identification."""
    return sorted(getattr(manifest.model, "labels", manifest.data))


def _summary(out: Path, manifest: "Manifest") -> dict[str, object]:
    return {
        "bundle": printable(str(out)),
        "source": manifest.source.name,
        "languages": _languages(manifest),
        "bytes": sum(file.size for file in manifest.files()),
        "parity": {
            graph.precision: {
                "max_abs_error": graph.parity.max_abs_error,
                "argmax_agreement": graph.parity.argmax_agreement,
                "relative_error": graph.parity.relative_error,
            }
            for graph in manifest.graphs
            if graph.parity
        },
        "plans": [
            {
                "graph": plan.graph,
                "precision": plan.precision,
                "runtime": plan.runtime,
                "runtime_version": plan.runtime_version,
                "compute_capabilities": plan.compute_capabilities,
                "profiles": [profile.name for profile in plan.profiles],
                "path": plan.file.path,
                "bytes": plan.file.size,
            }
            for plan in manifest.plans
        ],
    }
