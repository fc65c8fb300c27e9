"""`mms doctor`: what works here, and why the rest does not."""

from pathlib import Path

import click

from mms_engine.cli.options import bundle_option, json_option
from mms_engine.cli.program import interruptible


@click.command()
@bundle_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, bundle: Path | None, as_json: bool) -> None:
    """Check the installation, the devices and the bundle; exit 1 if something is broken."""
    from mms_engine.cli.doctor.checks import diagnose, report

    findings = interruptible(lambda: diagnose(bundle))
    click.echo(report(findings, as_json=as_json), nl=False)
    if any(finding.state == "broken" for finding in findings):
        ctx.exit(1)
