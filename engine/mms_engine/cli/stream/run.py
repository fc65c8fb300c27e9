"""Execution of `mms stream`."""

import contextlib
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import click

from mms_engine.asr.options import RecognizerOptions
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import Stream, StreamOptions
from mms_engine.asr.streaming.language import AUTO
from mms_engine.audio import SAMPLE_RATE
from mms_engine.audio.read import AudioReader
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.cli.audio_options import AudioChoice
from mms_engine.cli.decoder_options import DecoderChoice
from mms_engine.cli.options import find_bundle
from mms_engine.cli.progress import open_with_bar
from mms_engine.cli.routing_options import RoutingChoice, is_auto
from mms_engine.cli.stream.context_options import ContextChoice
from mms_engine.cli.stream.remote import RemoteStream
from mms_engine.cli.stream.screen import Lines, Screen
from mms_engine.cli.stream.sound import AudioQueue, StandardInput, microphone, pump, recording
from mms_engine.errors import AudioError, BackendError, MmsError
from mms_engine.routing.router import Router
from mms_engine.types import SampleFormat

STDIN, MICROPHONE = "-", "mic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Arguments of the command line."""

    source: str
    bundle: Path | None
    lang: str | None
    as_json: bool
    realtime: bool
    sample_rate: int
    sample_format: SampleFormat
    context: ContextChoice
    audio: AudioChoice
    decoding: DecoderChoice
    routing: RoutingChoice
    engine: RunOptions


def run(request: Request, queue: AudioQueue) -> None:
    """Transcribe the source until it, or the queue, ends.

    Raises:
        click.UsageError: options contradict each other.
        MmsError: the audio or the bundle cannot be used.
    """
    bundle = open_bundle(find_bundle(request.bundle), verify=request.engine.verify)
    request.routing.check(request.lang)
    language = _language(request, bundle)
    request.decoding.check(has_alternatives=True, languages={language})
    chosen = dataclasses.asdict(request.engine)
    options = RecognizerOptions(**chosen, beam=request.decoding.search())
    if bundle.manifest.source.notice:
        click.echo(bundle.manifest.source.notice, err=True)
    with contextlib.ExitStack() as opened:
        recognizer = opened.enter_context(
            open_with_bar(bundle.path, lambda: Recognizer.open(bundle.path, options=options))
        )
        finder = None
        if is_auto(language):
            identifier = opened.enter_context(request.routing.open(recognizer, request.engine))
            finder = Router(recognizer, identifier, request.routing.options()).finder(language)
            language = AUTO
        stdin = StandardInput() if request.source == STDIN else None
        is_raw = stdin is not None and not stdin.is_container()
        stream = recognizer.stream(language, _options(request, is_raw=is_raw), finder=finder)
        for warning in stream.warnings:
            click.echo(f"Warning: {warning}", err=True)
        with _source(request, stdin, bundle.manifest.sample_rate, queue):
            _transcribe(stream, queue, as_json=request.as_json)


def run_remote(request: Request, queue: AudioQueue, server: str, key: str | None) -> None:
    """Transcribe the source on a server, with the same output.

    Raises:
        click.UsageError: the URL is none.
        AudioError: the audio cannot be read.
        ServerError: the server cannot be used.
    """
    stdin = StandardInput() if request.source == STDIN else None
    is_raw = stdin is not None and not stdin.is_container()
    query = {
        "language": request.lang or "",
        "latency": request.context.latency,
        "tentative": str(request.context.tentative).lower(),
        "format": request.sample_format if is_raw else "f32le",
        "sample_rate": str(request.sample_rate if is_raw else SAMPLE_RATE),
    }
    if request.context.pause is not None:
        query["pause"] = f"{request.context.pause:g}"
    remote = RemoteStream(server, key, query)
    show = Lines() if request.as_json or not sys.stdout.isatty() else Screen()
    with _source(request, stdin, SAMPLE_RATE, queue):
        remote.run(queue, show)


def _transcribe(stream: Stream, queue: AudioQueue, *, as_json: bool) -> None:
    show = Lines() if as_json or not sys.stdout.isatty() else Screen()
    has_begun = False
    try:
        for piece in queue:
            has_begun = True
            show(stream.feed(piece))
    except (AudioError, BackendError):
        if has_begun:
            with contextlib.suppress(MmsError):
                show(stream.finish())  # the text before the error
        raise
    show(stream.finish())


def _options(request: Request, *, is_raw: bool) -> StreamOptions:
    return StreamOptions(
        latency=request.context.latency,
        context=request.context.context(),
        endpoints=request.context.endpoints(),
        tentative=request.context.tentative,
        sample_rate=request.sample_rate if is_raw else 16_000,
        sample_format=request.sample_format if is_raw else "f32le",
    )


def _source(
    request: Request, stdin: StandardInput | None, sample_rate: int, queue: AudioQueue
) -> contextlib.AbstractContextManager[None]:
    """Start to put audio into the queue."""
    if request.source == MICROPHONE:
        return microphone(sample_rate, queue)
    options = request.audio.reading()
    if stdin is None:
        reader = AudioReader(request.source, options)
        pump(recording(reader, realtime=request.realtime), queue)
    elif stdin.is_container():
        reader = AudioReader(cast("BinaryIO", stdin), options, is_pipe=True)
        pump(recording(reader, realtime=False), queue)
    else:
        pump(stdin.pieces(), queue)
    return contextlib.nullcontext()


def _language(request: Request, bundle: Bundle) -> str:
    if is_auto(request.lang):
        return str(request.lang)
    if request.lang is not None:
        bundle.entry(request.lang)
        return request.lang
    if bundle.only_language is not None:
        return bundle.only_language
    raise click.UsageError(f"missing --lang; the bundle has {', '.join(bundle.languages[:12])}")
