"""Options of `mms stream` for latency, context and endpoints."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from mms_engine.cli.options import grouped
from mms_engine.cli.program import FiniteFloat, section
from mms_engine.types import ContextKind, Latency, VoiceDetector

if TYPE_CHECKING:
    from mms_engine.asr.streaming import ContextOptions, EndpointOptions

_latency, _endpoints = section("Latency"), section("Endpoints")
_SECONDS = FiniteFloat(min=0)
_OPTIONS = (
    _latency(
        "--latency",
        type=click.Choice(get_args(Latency)),
        default="balanced",
        show_default=True,
        help="Trade-off between delay and accuracy: a word is shown 0.34, 0.64 or 2 s after it was "
        "spoken (median).",
    ),
    _latency(
        "--context",
        "kind",
        type=click.Choice(get_args(ContextKind)),
        help="Encoding of the left context: kept as a KV cache, or encoded again in each step.  "
        "[default: set by --latency, as for --left, --chunk and --right]",
    ),
    _latency(
        "--left", type=_SECONDS, metavar="SECONDS", help="Left context: audio before a chunk."
    ),
    _latency("--chunk", type=_SECONDS, metavar="SECONDS", help="Audio transcribed by one step."),
    _latency(
        "--right",
        type=_SECONDS,
        metavar="SECONDS",
        help="Right context: audio after a chunk, which a step waits for.",
    ),
    _latency(
        "--tentative",
        is_flag=True,
        help="Include the right context in partial text, which may then change.",
    ),
    _endpoints(
        "--pause",
        type=_SECONDS,
        metavar="SECONDS",
        help="Silence after speech that ends an utterance.  [default: 1.2]",
    ),
    _endpoints(
        "--vad",
        type=click.Choice(get_args(VoiceDetector)),
        default="level",
        show_default=True,
        help="Detector of silence besides the model: the audio level, or Silero VAD (package "
        "silero-vad), which classifies noise as silence too.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextChoice:
    """Latency, context and endpoints as given; `None` for the default."""

    latency: Latency
    kind: ContextKind | None
    left: float | None
    chunk: float | None
    right: float | None
    pause: float | None
    vad: VoiceDetector
    tentative: bool

    def context(self) -> "ContextOptions":
        """Return the context options.

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
        """Return the endpoint options.

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


context_options = grouped("context", ContextChoice, _OPTIONS)
"""Adds the options of `ContextChoice` as the argument `context`."""
