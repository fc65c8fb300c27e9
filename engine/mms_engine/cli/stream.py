"""`mms stream`: sound to text while it is spoken."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mms_engine.cli.decoding import DecoderChoice, decoder_options
from mms_engine.cli.options import EngineChoice, bundle_option, engine_options, grouped
from mms_engine.cli.program import interruptible

if TYPE_CHECKING:
    from mms_engine.streaming import ContextOptions, EndpointOptions

_EXAMPLES = """\b
Examples:
  mms stream clip.flac --lang eng --realtime
  mms stream mic --lang swh --latency low
  arecord -q -f S16_LE -r 16000 | mms stream - --lang eng
"""
_SECONDS = click.FloatRange(min=0)
_CONTEXT_OPTIONS = (
    click.option(
        "--latency",
        type=click.Choice(["low", "balanced", "accurate"]),
        default="balanced",
        show_default=True,
        help="How soon text comes, and how good it is.",
    ),
    click.option(
        "--context",
        "kind",
        type=click.Choice(["cached", "window"]),
        help="How left context is heard.  [default: as --latency says, like the next three]",
    ),
    click.option("--left", type=_SECONDS, help="Seconds heard before a chunk."),
    click.option("--chunk", type=_SECONDS, help="Seconds that a step gives text for."),
    click.option("--right", type=_SECONDS, help="Seconds behind a chunk that are waited for."),
    click.option(
        "--pause", type=_SECONDS, help="Seconds of silence that end an utterance.  [default: 1.2]"
    ),
    click.option(
        "--vad",
        type=click.Choice(["level", "silero"]),
        default="level",
        show_default=True,
        help="What finds silence, beside the model; silero needs the package silero-vad.",
    ),
    click.option(
        "--tentative", is_flag=True, help="Show text of the right context too; it may change."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextChoice:
    """What the user chose; `None` for what `latency` stands for."""

    latency: Literal["low", "balanced", "accurate"]
    kind: Literal["cached", "window"] | None
    left: float | None
    chunk: float | None
    right: float | None
    pause: float | None
    vad: Literal["level", "silero"]
    tentative: bool

    def context(self) -> "ContextOptions":
        """Return it as the engine takes it.

        Raises:
            click.UsageError: a number is out of range.
        """
        import dataclasses

        from mms_engine.streaming import LATENCIES

        given = {
            "kind": self.kind,
            "left_seconds": self.left,
            "chunk_seconds": self.chunk,
            "right_seconds": self.right,
        }
        changes: dict[str, Any] = {n: value for n, value in given.items() if value is not None}
        try:
            return dataclasses.replace(LATENCIES[self.latency], **changes)
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    def endpoints(self) -> "EndpointOptions":
        """Return when utterances end.

        Raises:
            click.UsageError: a number is out of range.
        """
        from mms_engine.streaming import EndpointOptions

        try:
            if self.pause is None:
                return EndpointOptions(vad=self.vad)
            return EndpointOptions(vad=self.vad, pause_seconds=self.pause)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asks for."""

    source: str
    bundle: Path | None
    lang: str | None
    as_json: bool
    realtime: bool
    sample_rate: int
    sample_format: Literal["s16le", "f32le", "mulaw"]
    context: ContextChoice
    decoding: DecoderChoice
    engine: EngineChoice


@click.command(epilog=_EXAMPLES)
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
    type=click.Choice(["s16le", "f32le", "mulaw"]),
    default="s16le",
    show_default=True,
    help="Of the samples on stdin, one channel.",
)
@grouped("context", ContextChoice, _CONTEXT_OPTIONS)
@decoder_options
@engine_options
def stream(**values: Any) -> None:  # noqa: ANN401
    """Write down what is said in SOURCE while it is spoken: a recording, mic, or - for samples."""
    from mms_engine.cli.streaming import run

    request = Request(**values)
    interruptible(lambda: run(request))
