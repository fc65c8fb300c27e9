"""`mms stream`: sound to text while it is spoken."""

from typing import Any, get_args

import click

from mms_engine.cli.decoder_options import decoder_options
from mms_engine.cli.options import bundle_option, engine_options
from mms_engine.cli.program import SectionedCommand, interruptible
from mms_engine.cli.stream.context_options import context_options
from mms_engine.types import SampleFormat

_EXAMPLES = """\b
Examples:
  mms stream clip.flac --lang eng --realtime
  mms stream mic --lang swh --latency low
  arecord -q -f S16_LE -r 16000 | mms stream - --lang eng
"""


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("source")
@bundle_option
@click.option("--lang", help="Language that is spoken; mms languages lists them.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print each event as a line of JSON.  [default: where stdout is no terminal]",
)
@click.option("--realtime", is_flag=True, help="Read a file no faster than it would be spoken.")
@click.option(
    "--sample-rate",
    type=click.IntRange(1_000, 768_000),
    default=16_000,
    show_default=True,
    help="Of the samples on stdin, Hz.",
)
@click.option(
    "--sample-format",
    type=click.Choice(get_args(SampleFormat)),
    default="s16le",
    show_default=True,
    help="Of the samples on stdin, one channel.",
)
@context_options
@decoder_options
@engine_options
def stream(**values: Any) -> None:  # noqa: ANN401
    """Write down what is said in SOURCE while it is spoken: a recording, mic, or - for samples."""
    from mms_engine.cli.stream.run import Request, run
    from mms_engine.cli.stream.sound import AudioQueue

    request, queue = Request(**values), AudioQueue()
    interruptible(lambda: run(request, queue), stop=queue.end)
