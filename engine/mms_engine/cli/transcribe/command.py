"""Command `mms transcribe`."""

from pathlib import Path
from typing import Any, get_args

import click

from mms_engine.cli.audio_options import audio_options
from mms_engine.cli.cluster_options import bulk_options
from mms_engine.cli.decoder_options import offline_decoder_options
from mms_engine.cli.options import bundle_option, engine_options
from mms_engine.cli.program import SectionedCommand, interruptible, section
from mms_engine.cli.routing_options import recording_routing
from mms_engine.formats import FORMATS
from mms_engine.types import NormalizationScope

_TABLE = click.Path(path_type=Path, dir_okay=False, exists=True)
_EXAMPLES = """\b
Examples:
  mms transcribe clip.flac --lang eng
  mms transcribe recordings/ --lang swh --format srt --output subtitles/
  mms transcribe recordings/ --lang swh --output transcripts/ --resume
  mms transcribe talks/ --lang auto:eng,fra --identifier bundles/mms-lid-126
  mms transcribe s3://bucket/talks/ --lang swh --output transcripts/ --resume --ray auto
  mms transcribe --reference clips.tsv --diff
  mms transcribe clip.flac --lang eng --decoder beam --lm eng.arpa.gz --hotwords names.txt
"""
_input, _output = section("Input"), section("Output")


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("files", nargs=-1)
@_input(
    "--lang",
    metavar="CODE",
    help="Language of FILES, such as eng; listed by mms languages. auto identifies it, auto:eng,fra"
    " among some. Optional if the bundle has only one.",
)
@_input(
    "--list",
    "table",
    type=_TABLE,
    metavar="TSV",
    help="Table of recordings instead of FILES, with the columns file and lang: one language per "
    "recording.",
)
@_input(
    "--reference",
    type=_TABLE,
    metavar="TSV",
    help="Table of recordings instead of FILES, with the columns file, lang and text: prints word "
    "and character error rates against the text. Needs the extra [score].",
)
@_input(
    "--diff",
    is_flag=True,
    help="With --reference: also print how each transcript differs from the text: [-deleted-] and "
    "{+inserted+} words, or characters for languages without spaces.",
)
@_input(
    "--show-skipped",
    is_flag=True,
    help="Name every file of a folder that was passed over because it has no audio, instead of the "
    "first three.",
)
@recording_routing
@audio_options
@section("Audio")(
    "--normalization",
    type=click.Choice(get_args(NormalizationScope)),
    default="utterance",
    show_default=True,
    help="Audio whose mean and variance normalise a recording: all of it, as in training, or the "
    "seconds around each one, for speech between long silence or of changing level.",
)
@_output(
    "--format",
    "format_name",
    type=click.Choice(tuple(FORMATS)),
    default="text",
    show_default=True,
    help="Format of the transcripts.",
)
@_output(
    "--json",
    "as_json",
    is_flag=True,
    help="Same as --format json; with --reference, print the error rates as JSON.",
)
@_output(
    "--output",
    "-o",
    metavar="FILE|FOLDER/",
    help="Output file, or folder (with a trailing slash) for one file per recording. A file is "
    "replaced when the command ends; until then, and if it ends early, the transcripts of several "
    "recordings are in FILE.XXXXXXXX.partial.  [default: standard output]",
)
@_output(
    "--resume",
    is_flag=True,
    help="Skip recordings whose transcript in the output folder is whole, and was made of the same "
    "recording (size and time) with the same options. Kept in the file mms-resume.jsonl there.",
)
@offline_decoder_options
@bulk_options
@bundle_option
@engine_options
def transcribe(**values: Any) -> None:  # noqa: ANN401
    """Transcribe recordings.

    FILES are audio or video files, folders (searched recursively), URLs that fsspec opens (those
    of a folder end in a slash), or - for standard input.
    """
    from mms_engine.cli.transcribe.run import TranscribeRequest, run

    request = TranscribeRequest(**values)
    interruptible(lambda: run(request))
