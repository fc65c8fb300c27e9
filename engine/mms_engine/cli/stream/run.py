"""The work of `mms stream`."""

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import StreamOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.cli.decoder_options import DecoderChoice
from mms_engine.cli.options import EngineChoice, find_bundle
from mms_engine.cli.stream.context_options import ContextChoice
from mms_engine.cli.stream.screen import Lines, Screen
from mms_engine.cli.stream.sound import Piece, microphone, recording, samples_on_stdin
from mms_engine.types import SampleFormat

STDIN, MICROPHONE = "-", "mic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asks for."""

    source: str
    bundle: Path | None
    lang: str | None
    as_json: bool
    realtime: bool
    sample_rate: int
    sample_format: SampleFormat
    context: ContextChoice
    decoding: DecoderChoice
    engine: EngineChoice


def run(request: Request) -> None:
    """Do what the command line asks for.

    Raises:
        click.UsageError: it contradicts itself.
        MmsError: the sound or the bundle cannot be used.
    """
    bundle = open_bundle(find_bundle(request.bundle), verify=not request.engine.no_verify)
    language = _language(request, bundle)
    request.decoding.check(has_alternatives=True, languages={language})
    engine = dataclasses.replace(
        request.engine.options(),
        beam=request.decoding.search(),
    )
    if bundle.manifest.source.notice:
        click.echo(bundle.manifest.source.notice, err=True)
    show = Lines() if request.as_json or not sys.stdout.isatty() else Screen()
    with Recognizer.open(bundle.path, options=engine) as recognizer:
        stream = recognizer.stream(language, _options(request))
        for piece in _sound(request, bundle.manifest.sample_rate):
            show(stream.feed(piece))
        show(stream.finish())


def _options(request: Request) -> StreamOptions:
    raw = request.source == STDIN
    return StreamOptions(
        latency=request.context.latency,
        context=request.context.context(),
        endpoints=request.context.endpoints(),
        tentative=request.context.tentative,
        sample_rate=request.sample_rate if raw else 16_000,
        sample_format=request.sample_format if raw else "f32le",
    )


def _sound(request: Request, sample_rate: int) -> Iterator[Piece]:
    if request.source == STDIN:
        return samples_on_stdin()
    if request.source == MICROPHONE:
        return microphone(sample_rate)
    return recording(request.source, realtime=request.realtime)


def _language(request: Request, bundle: Bundle) -> str:
    if request.lang is not None:
        bundle.entry(request.lang)
        return request.lang
    if len(bundle.languages) == 1:
        return bundle.languages[0]
    raise click.UsageError(f"--lang is needed; the bundle has {', '.join(bundle.languages[:12])}")
