"""Command `mms`. Only click is imported at the top: commands import the engine when they run."""

import logging

import click

from mms_engine.cli.align.command import align
from mms_engine.cli.align.segment import segment
from mms_engine.cli.doctor.command import doctor
from mms_engine.cli.embed import embed
from mms_engine.cli.identify import identify
from mms_engine.cli.languages import languages
from mms_engine.cli.lm import lm
from mms_engine.cli.program import Program
from mms_engine.cli.serve import key, serve
from mms_engine.cli.speak.command import speak
from mms_engine.cli.stream.command import stream
from mms_engine.cli.transcribe.command import transcribe

__all__ = ["main"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group("mms", cls=Program, context_settings=_SETTINGS)
@click.version_option(package_name="mms-engine", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors and debug messages.")
def main(*, debug: bool) -> None:
    """Recognise, speak, align and identify speech in the languages of Meta's MMS models."""
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


_COMMANDS = (transcribe, stream, speak, align, segment, identify, embed, serve, key)
for _command in (*_COMMANDS, languages, lm, doctor):
    main.add_command(_command)
