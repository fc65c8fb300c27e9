"""Command `mms doctor`."""

from pathlib import Path

import click

from mms_engine.cli.options import bundle_option, json_option
from mms_engine.cli.program import interruptible


@click.command()
@bundle_option
@click.option(
    "--verify",
    is_flag=True,
    help="Check the SHA-256 of the bundle's files, not only their sizes. Reads the whole bundle: "
    "about 1 s per GB.",
)
@click.option(
    "--clear-cache",
    is_flag=True,
    help="First remove the packed weights, the kernels that TensorRT for RTX compiled, and the "
    "stamps of checked files from the cache folder. "
    "The next opening of a bundle takes longer, and writes them again.",
)
@click.option(
    "--budget",
    "loads",
    metavar="BxS[,NAME=N]",
    multiple=True,
    help="Instead of the checks, print the GPU memory that the bundle's plans take for runs of B "
    "rows of S seconds, as 16x30. Names are languages, vocab, the tokens of the widest of them "
    "(the others have the mean size of the bundle's), both by default the bundle's, and "
    "streams, by default 0, as in 4x10,languages=100,streams=10. May be repeated.",
)
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    *,
    bundle: Path | None,
    verify: bool,
    clear_cache: bool,
    loads: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check the installation, the devices and the bundle.

    Each line begins with ok, absent (an optional part, with the reason) or broken. The exit status
    is 1 if anything is broken.
    """
    from mms_engine.cli.doctor.budgets import report_budgets
    from mms_engine.cli.doctor.checks import clear_caches, diagnose, report

    if loads:
        click.echo(report_budgets(bundle, loads, as_json=as_json), nl=False)
        return
    if clear_cache:
        click.echo(clear_caches(), err=True)
    findings = interruptible(lambda: diagnose(bundle, verify=verify))
    click.echo(report(findings, as_json=as_json), nl=False)
    if any(finding.state == "broken" for finding in findings):
        ctx.exit(1)
