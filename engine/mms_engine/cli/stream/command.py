"""Command `mms stream`: transcription of live audio."""

from typing import Any, get_args

import click
from click.core import ParameterSource

from mms_engine.cli.audio_options import audio_options
from mms_engine.cli.decoder_options import decoder_options
from mms_engine.cli.options import bundle_option, engine_options
from mms_engine.cli.program import SectionedCommand, interruptible, section
from mms_engine.cli.routing_options import stream_routing
from mms_engine.cli.stream.context_options import context_options
from mms_engine.types import SampleFormat

_input, _server = section("Input"), section("Server")
_EXAMPLES = """\b
Examples:
  mms stream clip.flac --lang eng --realtime
  mms stream mic --lang swh --latency low
  mms stream mic --lang auto:eng,fra --identifier bundles/mms-lid-126
  arecord -q -f S16_LE -r 16000 | mms stream - --lang eng
  mms stream mic --lang eng --server https://speech.example
"""

_REMOTE = {
    *("source", "lang", "realtime", "sample_rate", "sample_format", "server", "key", "as_json"),
    *("track", "channel", "allow_truncated", "max_seconds", "max_channels", "max_bytes"),
    *("latency", "tentative", "pause"),
}
"""Options that go with a server."""


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("source")
@_input(
    "--lang",
    metavar="CODE",
    help="Language of the audio, such as eng; listed by mms languages. auto identifies it, "
    "auto:eng,fra among some. Optional if the bundle has only one.",
)
@_input("--realtime", is_flag=True, help="Read a file at the pace of its recording.")
@_input(
    "--sample-rate",
    type=click.IntRange(1_000, 768_000),
    metavar="HZ",
    default=16_000,
    show_default=True,
    help="Sample rate of raw samples on standard input.",
)
@_input(
    "--sample-format",
    type=click.Choice(get_args(SampleFormat)),
    default="s16le",
    show_default=True,
    help="Format of raw samples on standard input, one channel: float32 or 16-bit integers, "
    "little-endian, or 8-bit mu-law or A-law.",
)
@_server(
    "--server",
    metavar="URL",
    envvar="MMS_SERVER",
    show_envvar=True,
    help="Server that transcribes, such as http://127.0.0.1:8000, in place of a bundle here.",
)
@_server(
    "--key",
    metavar="KEY",
    envvar="MMS_API_KEY",
    show_envvar=True,
    help="API key of the server.",
)
@section("Output")(
    "--json",
    "as_json",
    is_flag=True,
    help="Print each event as one line of JSON.  [default: unless standard output is a terminal]",
)
@stream_routing
@audio_options
@context_options
@decoder_options
@bundle_option
@engine_options
@click.pass_context
def stream(
    ctx: click.Context,
    /,
    *,
    server: str | None,
    key: str | None,
    **values: Any,  # noqa: ANN401
) -> None:
    """Transcribe live audio.

    SOURCE is an audio file, mic for the microphone, or - for standard input: raw samples, or a
    container such as WAV, FLAC, Ogg, MP3 or WebM, which is recognised. (A file of such a name is
    given as ./mic or ./-.)

    Partial text is printed as the audio arrives, and the final text of each utterance at its end.
    Ctrl-C ends the stream after the final text of the current utterance; pressed twice, it ends
    the command at once. With --server, a connection that breaks is resumed.
    """
    from mms_engine.cli.stream.run import Request, run, run_remote
    from mms_engine.cli.stream.sound import AudioQueue

    request, queue = Request(**values), AudioQueue()
    if server is None:
        interruptible(lambda: run(request, queue), stop=queue.end)
        return
    _check_local_options(ctx)
    interruptible(lambda: run_remote(request, queue, server, key), stop=queue.end)


def _check_local_options(ctx: click.Context) -> None:
    """Refuse options of the engine, which a server chooses itself."""
    for parameter in ctx.command.params:
        is_given = ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if is_given and parameter.name not in _REMOTE:
            raise click.UsageError(f"{parameter.opts[0]} does not go with --server")
