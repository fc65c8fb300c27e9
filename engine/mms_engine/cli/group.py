"""The group `mms` and its commands."""

import logging

import click

from mms_engine.cli.doctor.command import doctor
from mms_engine.cli.languages import languages
from mms_engine.cli.lm import lm
from mms_engine.cli.program import Program
from mms_engine.cli.stream.command import stream
from mms_engine.cli.transcribe.command import transcribe

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group("mms", cls=Program, context_settings=_SETTINGS)
@click.version_option(package_name="mms-engine", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and log everything.")
def main(*, debug: bool) -> None:
    """Speech recognition in every language of Meta's MMS, from one bundle."""
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


main.add_command(transcribe)
main.add_command(stream)
main.add_command(languages)
main.add_command(doctor)
main.add_command(lm)
