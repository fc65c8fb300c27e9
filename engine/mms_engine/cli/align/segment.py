"""Command `mms segment`."""

from pathlib import Path
from typing import Any, get_args

import click

from mms_engine.cli.align.options import alignment_options, lang_option, list_option
from mms_engine.cli.align.segment_options import segment_options
from mms_engine.cli.audio_options import audio_options
from mms_engine.cli.options import bundle_option, engine_options
from mms_engine.cli.program import SectionedCommand, interruptible, section
from mms_engine.types import ClipFormat

_EXAMPLES = """\b
Examples:
  mms segment story.wav story.txt --lang swh --out clips/
  mms segment --list corpus.tsv --out clips/ --resume --jobs 2
  mms segment talk.flac talk.txt --lang eng --out clips/ --unit pause --max-clip-seconds 10
"""
_output = section("Output")


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("files", nargs=-1, metavar="AUDIO TEXT")
@lang_option
@list_option
@audio_options
@alignment_options
@segment_options
@_output(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    required=True,
    help="Folder of the clips, one folder per recording, and of manifest.jsonl.",
)
@_output(
    "--format",
    "file_format",
    type=click.Choice(get_args(ClipFormat)),
    default="flac",
    show_default=True,
    help="Format of the clips: 16 kHz, one channel, 16 bits.",
)
@_output(
    "--resume",
    is_flag=True,
    help="Skip recordings whose clips an earlier run with the same options has finished.",
)
@_output(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Recordings at a time.",
)
@bundle_option
@engine_options
def segment(**values: Any) -> None:  # noqa: ANN401
    """Cut recordings and their texts into clips for training.

    AUDIO is an audio or video file of any length, TEXT a UTF-8 text file. Clips whose sound and
    text do not match are rejected: they are listed in rejected.jsonl with the reason.
    """
    from mms_engine.cli.align.clips import SegmentRequest, run

    request = SegmentRequest(**values)
    interruptible(lambda: run(request))
