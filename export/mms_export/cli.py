"""The command `mms-export`. Heavy imports are inside, so that `--help` is instant."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mms_engine.errors import MmsError
from mms_engine.system import usable_cores
from mms_export.plan_options import plan_options, take_plan_options

if TYPE_CHECKING:
    from mms_engine.bundle import Manifest
    from mms_export.options import ExportOptions
    from mms_export.tensorrt.options import PlanOptions

DEFAULT_MODEL = "facebook/mms-1b-all"
DEMO = "demo"
PRECISION_NAMES = ("fp32", "fp16", "bf16", "int8")
DEFAULT_PRECISIONS = ("fp32", "fp16", "int8")
INTERRUPTED = 130


class Program(click.Command):
    """Reports `MmsError` as one line and exit code 1, Ctrl-C as exit code 130."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on where it stopped", err=True)
            ctx.exit(INTERRUPTED)
        except MmsError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(" ".join(str(error).split())) from error


def _precisions(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Split and check the names of precisions."""
    if value is None:
        return None
    names = [part.strip() for part in value.split(",") if part.strip()]
    for name in names:
        if name not in PRECISION_NAMES:
            known = ", ".join(PRECISION_NAMES)
            raise click.BadParameter(f"{name!r} is not one of {known}", ctx, param)
    if not names:
        raise click.BadParameter("name at least one precision", ctx, param)
    return tuple(dict.fromkeys(names))


@click.command(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    help="demo, the folder of a checkpoint, a fairseq .pt, or a hub id.",
)
@click.option(
    "--lang", default="all", show_default=True, help="all, or codes and globs: eng,swh,uzb-*"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the bundle.  [default: bundles/NAME; the user's cache for the demo]",
)
@click.option(
    "--precision",
    metavar="LIST",
    callback=_precisions,
    help="Any of fp32,fp16,bf16,int8.  [default: fp32,fp16,int8; fp32 for the demo]",
)
@click.option(
    "--adapter-dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="In which the languages are stored.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=usable_cores,
    show_default="one a core",
    help="Processes that convert languages.",
)
@plan_options
@click.option("--replace", is_flag=True, help="Throw away a bundle of another model in --out.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written and how large it is.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="mms-engine", message="%(package)s %(version)s")
def main(*, dry_run: bool, as_json: bool, quiet: bool, debug: bool, **given: Any) -> None:  # noqa: ANN401, ARG001
    """Turn an MMS checkpoint into a bundle: ONNX graphs, and every language's adapter as data.

    An export that was interrupted goes on where it stopped; a finished bundle gets the languages,
    precisions and plans it lacks.
    """
    options = _options(plans=take_plan_options(given), **given)
    if dry_run:
        _show_parts(options, as_json=as_json)
        return
    from mms_export.pipeline import export
    from mms_export.progress import Reporter

    manifest = export(options, Reporter(quiet=quiet))
    if manifest.source.notice and not quiet:
        click.echo(manifest.source.notice, err=True)
    if as_json:
        click.echo(json.dumps(_summary(options.out, manifest)))
    else:
        click.echo(_sentence(options.out, manifest))


def _options(
    *,
    model: str,
    lang: str,
    out: Path | None,
    precision: tuple[Any, ...] | None,
    adapter_dtype: Any,  # noqa: ANN401
    jobs: int,
    replace: bool,
    plans: "PlanOptions | None",
) -> "ExportOptions":
    from mms_export.options import ExportOptions

    return ExportOptions(
        model=model,
        languages=lang,
        out=out or _default_out(model),
        precisions=precision or _default_precisions(model, plans),
        plans=plans,
        adapter_dtype=adapter_dtype,
        jobs=jobs,
        # A new release brings another demo checkpoint: its old bundle in the cache gives way.
        replace=replace or (model == DEMO and out is None),
    )


def _default_precisions(model: str, plans: "PlanOptions | None") -> tuple[Any, ...]:
    if model != DEMO:
        return DEFAULT_PRECISIONS
    return ("fp32", "fp16") if plans else ("fp32",)


def _default_out(model: str) -> Path:
    from mms_engine.system import demo_bundle

    return demo_bundle() if model == DEMO else Path("bundles") / Path(model).resolve().stem


def _show_parts(options: "ExportOptions", *, as_json: bool) -> None:
    from mms_export.sizes import all_parts, show

    parts = all_parts(options)
    total = sum(part.size for part in parts)
    if as_json:
        sizes = {part.name: part.size for part in parts}
        click.echo(json.dumps({"bundle": str(options.out), "bytes": sizes, "total": total}))
        return
    width = max(24, *(len(part.name) for part in parts))
    for part in parts:
        click.echo(f"{part.name:{width}} {show(part.size):>10}")
    click.echo(f"{'total':{width}} {show(total):>10}  to {options.out}")


def _sentence(out: Path, manifest: "Manifest") -> str:
    precisions = ", ".join(g.precision for g in manifest.graphs if g.stage == "encoder")
    count = len(manifest.adapters)
    languages = f"{count} language{'s' * (count != 1)}"
    plans = "".join(f"; plans for {target}" for target in _plan_targets(manifest))
    return f"{out}: {manifest.source.name}, {languages}, {precisions}{plans}"


def _plan_targets(manifest: "Manifest") -> list[str]:
    """Return each runtime with its capabilities and precisions, once."""
    targets = {
        f"{plan.runtime} {plan.runtime_version} ({plan.precision} on "
        f"{', '.join(plan.compute_capabilities)})"
        for plan in manifest.plans
    }
    return sorted(targets)


def _summary(out: Path, manifest: "Manifest") -> dict[str, object]:
    return {
        "bundle": str(out),
        "source": manifest.source.name,
        "languages": sorted(manifest.adapters),
        "bytes": sum(file.size for file in manifest.files()),
        "parity": {
            graph.precision: {
                "max_abs_error": graph.parity.max_abs_error,
                "argmax_agreement": graph.parity.argmax_agreement,
            }
            for graph in manifest.graphs
            if graph.parity
        },
        "plans": [
            {
                "stage": plan.stage,
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


if __name__ == "__main__":
    main()
