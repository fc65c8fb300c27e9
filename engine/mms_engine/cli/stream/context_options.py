"""Options of `mms stream` for latency, context and endpoints."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from mms_engine.cli.options import grouped
from mms_engine.types import ContextKind, Latency, VoiceDetector

if TYPE_CHECKING:
    from mms_engine.asr.streaming import ContextOptions, EndpointOptions

_SECONDS = click.FloatRange(min=0)
_CONTEXT_OPTIONS = (
    click.option(
        "--latency",
        type=click.Choice(get_args(Latency)),
        default="balanced",
        show_default=True,
        help="How soon text comes, and how good it is.",
    ),
    click.option(
        "--context",
        "kind",
        type=click.Choice(get_args(ContextKind)),
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
        type=click.Choice(get_args(VoiceDetector)),
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

    latency: Latency
    kind: ContextKind | None
    left: float | None
    chunk: float | None
    right: float | None
    pause: float | None
    vad: VoiceDetector
    tentative: bool

    def context(self) -> "ContextOptions":
        """Return it as the engine takes it.

        Raises:
            click.UsageError: a number is out of range.
        """
        from mms_engine.asr.streaming import LATENCIES

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
        from mms_engine.asr.streaming import EndpointOptions

        try:
            if self.pause is None:
                return EndpointOptions(vad=self.vad)
            return EndpointOptions(vad=self.vad, pause_seconds=self.pause)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


context_options = grouped("context", ContextChoice, _CONTEXT_OPTIONS)
"""Adds the options of `ContextChoice` as the argument `context`."""
