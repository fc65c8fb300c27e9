"""Command `mms speak`."""

from pathlib import Path
from typing import Any, get_args

import click

from mms_engine.cli.options import engine_options
from mms_engine.cli.program import FiniteFloat, SectionedCommand, interruptible, section
from mms_engine.formats import TIMED_FORMATS
from mms_engine.types import AudioFormat, SpokenNumbers

_EXAMPLES = """\b
Examples:
  mms speak "Habari ya dunia" --lang swh -o habari.wav
  mms speak --file book.txt --lang eng -o book.mp3 --timings srt
  tail -f log.txt | mms speak - --lang eng --play
  mms speak --list
"""
_voice = section("Voice")
_text = section("Text")
_output = section("Output")


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("text", required=False, metavar="[TEXT|-]")
@_voice(
    "--lang",
    metavar="LANGUAGE",
    help="Voice: code or name of its language.  [default: the only one of the bundle]",
)
@_voice("--list", "list_voices", is_flag=True, help="List the voices of the bundle.")
@_voice(
    "--speed",
    type=FiniteFloat(0.25, 4),
    metavar="FACTOR",
    default=1.0,
    show_default=True,
    help="Speed of the speech, 0.25 to 4; at 2 it takes half the time.",
)
@_voice(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of the noise; equal seeds give equal samples.",
)
@_voice(
    "--noise-scale",
    type=FiniteFloat(0, 10),
    metavar="FACTOR",
    help="Variation of the sound, 0 for none.  [default: the voice's, 0.667 for MMS]",
)
@_voice(
    "--noise-scale-duration",
    type=FiniteFloat(0, 10),
    metavar="FACTOR",
    help="Variation of the rhythm, 0 for none.  [default: the voice's, 0.8 for MMS]",
)
@_text(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="File with the text, in UTF-8, in place of TEXT.",
)
@_text(
    "--numbers",
    type=click.Choice(get_args(SpokenNumbers)),
    default="words",
    show_default=True,
    help="Numbers, dates and symbols: in words where the language's rules are known, as written, "
    "or an error for those that cannot be read.",
)
@_text(
    "--numbers-language",
    metavar="LANGUAGE",
    help="Code or name of the language in which numbers are read.  [default: the voice's]",
)
@_text(
    "--map-look-alikes",
    is_flag=True,
    help="Speak a letter that the voice lacks as one that looks like it.",
)
@_text(
    "--pause-scale",
    type=FiniteFloat(0, 10),
    metavar="FACTOR",
    default=1.0,
    show_default=True,
    help="Factor of the pauses at punctuation, 0 for none.",
)
@_output(
    "-o",
    "--output",
    metavar="FILE",
    help="Audio file; - for standard output. Its suffix (.wav, .flac, .mp3, .ogg, .aac) is the "
    "format.",
)
@_output(
    "--format",
    "audio_format",
    type=click.Choice(get_args(AudioFormat)),
    help="Format of the audio.  [default: that of the suffix, else wav]",
)
@_output("--play", is_flag=True, help="Play the audio while it is made. Needs mms-engine[mic].")
@_output(
    "--timings",
    type=click.Choice(("json", *TIMED_FORMATS)),
    help="Write the times of the words to a file named as the audio; to standard output with "
    "--play alone.",
)
@section("Model and device")(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    envvar="MMS_BUNDLE",
    show_envvar=True,
    help="Bundle of voices, written by mms-export --model facebook/mms-tts --lang swh,eng.  "
    "[default: the bundle of mms-export --model demo-voice]",
)
@engine_options
def speak(**values: Any) -> None:  # noqa: ANN401
    """Speak a text.

    TEXT is spoken, or each line of standard input as it comes (-), or --file. Sound is made while
    the text is still read. Characters that the voice cannot speak are named in a warning. A text
    may have pauses: <break time="500ms"/>.
    """
    from mms_engine.cli.speak.run import Request, run

    request = Request(**values)
    interruptible(lambda: run(request))
