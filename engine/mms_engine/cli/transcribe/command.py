"""`mms transcribe`: recordings to text."""

from pathlib import Path
from typing import Any

import click

from mms_engine.cli.decoder_options import decoder_options
from mms_engine.cli.options import bundle_option, engine_options, json_option
from mms_engine.cli.program import interruptible

_TABLE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FORMATS = ("text", "json", "srt", "vtt", "ctm", "textgrid")
_EXAMPLES = """\b
Examples:
  mms transcribe clip.flac --lang eng
  mms transcribe recordings/ --lang swh --format srt --output subtitles/
  mms transcribe --reference clips.tsv
  mms transcribe clip.flac --lang eng --decoder beam --lm eng.arpa.gz --hotwords names.txt
"""


@click.command(epilog=_EXAMPLES)
@click.argument("files", nargs=-1)
@bundle_option
@click.option("--lang", help="Language of the recordings; mms languages lists them.")
@click.option(
    "--list",
    "table",
    type=_TABLE,
    help="TSV with the columns file and lang, in place of FILES: recordings in many languages.",
)
@click.option(
    "--reference",
    type=_TABLE,
    help="TSV with the columns file, lang and text, in place of FILES: score against the text.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="Of the transcripts.",
)
@json_option
@click.option("--output", "-o", help="File, or folder (ending in /), in place of stdout.")
@click.option(
    "--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Refuse longer recordings."
)
@click.option(
    "--allow-truncated", is_flag=True, help="Take what is there of recordings cut off or damaged."
)
@decoder_options
@engine_options
def transcribe(**values: Any) -> None:  # noqa: ANN401
    """Write down what is said in FILES: recordings, folders of them, or - for stdin."""
    from mms_engine.cli.transcribe.run import Request, run

    request = Request(**values)
    interruptible(lambda: run(request))
