"""Execution of `mms transcribe`."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.options import RecognizerOptions
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.scoring import Scored, load_jiwer, score
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.cli.audio_options import AudioChoice
from mms_engine.cli.decoder_options import DecoderChoice
from mms_engine.cli.options import find_bundle
from mms_engine.cli.program import one_line
from mms_engine.cli.progress import Bar
from mms_engine.cli.transcribe.output import Output
from mms_engine.cli.transcribe.recordings import Recording, from_arguments, from_table
from mms_engine.cli.transcribe.scores import score_json, score_table
from mms_engine.errors import BundleError, LanguageError, MmsError
from mms_engine.system import printable
from mms_engine.types import Transcript

Outcome = tuple[Recording, Transcript]
_SHOWN_LANGUAGES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeRequest:
    """Arguments of the command line."""

    files: tuple[str, ...]
    bundle: Path | None
    lang: str | None
    table: Path | None
    reference: Path | None
    format_name: str
    as_json: bool
    output: str | None
    audio: AudioChoice
    decoding: DecoderChoice
    engine: RunOptions


def run(request: TranscribeRequest) -> None:
    """Transcribe, and write or score the transcripts.

    Raises:
        click.UsageError: the arguments contradict each other.
        MmsError: the engine cannot be opened, or the only recording failed.
        click.ClickException: some of several recordings failed; each was reported.
    """
    if request.reference is not None:
        load_jiwer()  # fail before transcribing
    recordings = _recordings(request)
    output = _output(request, recordings)
    bundle = open_bundle(find_bundle(request.bundle), verify=request.engine.verify)
    spoken = [_with_language(recording, request, bundle) for recording in recordings]
    recognizer = Recognizer.open(
        bundle.path, options=_options(request, spoken), limits=request.audio.limits()
    )
    if bundle.manifest.source.notice:
        click.echo(bundle.manifest.source.notice, err=True)
    is_beam = request.decoding.decoder == "beam"
    known = _decoder_warnings(recognizer, spoken) if is_beam else set()
    with Bar() as bar:
        outcomes = _Outcomes(recognizer, spoken, bar, known)
        if request.reference is not None:
            report = _scored(outcomes, as_json=request.as_json)
        else:
            report = ""
            with output:
                for recording, transcript in outcomes:
                    with bar.paused():
                        output.write(recording, transcript)
    click.echo(report, nl=False)
    outcomes.finish()


def _decoder_warnings(recognizer: Recognizer, recordings: list[Recording]) -> set[str]:
    """Print and return the remarks on the language model and hotwords, once per language.

    Raises:
        LanguageModelError: they cannot be used.
    """
    known: set[str] = set()
    for language in sorted({str(recording.language) for recording in recordings}):
        with contextlib.suppress(BundleError, LanguageError):  # an error of its recordings
            for warning in recognizer.decoder_warnings(language):
                click.echo(f"Warning: {warning}", err=True)
                known.add(warning)
    return known


def _output(request: TranscribeRequest, recordings: list[Recording]) -> Output:
    format_name = "json" if request.as_json else request.format_name
    output = Output(format_name, request.output, several=len(recordings) > 1)
    if request.reference is None:
        tables = (request.table, request.decoding.lm, request.decoding.hotwords)
        output.check(recordings, [table for table in tables if table is not None])
    elif request.output is not None:
        raise click.UsageError("--reference prints error rates: omit --output")
    return output


def _options(request: TranscribeRequest, recordings: list[Recording]) -> RecognizerOptions:
    request.decoding.check(
        has_alternatives=request.reference is None
        and "json" in (request.format_name, "json" if request.as_json else None),
        languages={str(recording.language) for recording in recordings},
    )
    return RecognizerOptions(
        **dataclasses.asdict(request.engine),
        beam=request.decoding.search(),
        allow_truncated=request.audio.allow_truncated,
        track=request.audio.track,
        channel=request.audio.channel,
    )


class _Outcomes:
    """Transcripts in the order of the recordings; failures are reported and skipped."""

    def __init__(
        self,
        recognizer: Recognizer,
        recordings: list[Recording],
        bar: Bar,
        known: Collection[str],
    ) -> None:
        """Prepare to transcribe; warnings in `known` have been printed."""
        self._recognizer = recognizer
        self._recordings = recordings
        self._bar = bar
        self._known = known
        self._failed = 0

    def __iter__(self) -> Iterator[Outcome]:
        jobs = [Job(r.source, str(r.language)) for r in self._recordings]
        numbers = {id(job): number for number, job in enumerate(jobs)}
        waiting: dict[int, JobResult] = {}
        following = 0
        for result in self._recognizer.transcribe_each(jobs, self._bar.advance):
            waiting[numbers[id(result.job)]] = result
            while following in waiting:
                yield from self._outcome(self._recordings[following], waiting.pop(following))
                following += 1

    def _outcome(self, recording: Recording, result: JobResult) -> Iterator[Outcome]:
        if result.error is None or len(self._recordings) == 1:
            transcript = result.unwrap()
            with self._bar.paused():
                for warning in transcript.warnings:
                    if warning not in self._known:
                        click.echo(f"Warning: {recording.name}: {warning}", err=True)
            yield recording, transcript
            return
        self._failed += 1
        with self._bar.paused():
            _report(recording, result.error)

    def finish(self) -> None:
        """Raise `click.ClickException` if a recording failed."""
        if self._failed:
            raise click.ClickException(
                f"{self._failed} of {len(self._recordings)} recordings failed"
            )


def _report(recording: Recording, error: MmsError) -> None:
    message = one_line(error)
    named = message if recording.name in message else f"{recording.name}: {message}"
    click.echo(f"Error: {named}", err=True)


def _recordings(request: TranscribeRequest) -> list[Recording]:
    given = [request.files, request.table, request.reference]
    if sum(bool(source) for source in given) != 1:
        raise click.UsageError(
            "name the recordings by exactly one of FILES, --list and --reference"
        )
    table = request.table or request.reference
    if table is not None:
        return from_table(table, with_text=request.reference is not None)
    return from_arguments(request.files)


def _with_language(recording: Recording, request: TranscribeRequest, bundle: Bundle) -> Recording:
    language = recording.language or request.lang
    if language is None and len(bundle.languages) == 1:
        language = bundle.languages[0]
    if language is None:
        known = ", ".join(bundle.languages[:_SHOWN_LANGUAGES])
        more = ", …" if len(bundle.languages) > _SHOWN_LANGUAGES else ""
        raise click.UsageError(f"--lang is required: the bundle has {known}{more}")
    if request.lang is not None:
        bundle.entry(language)  # refuse an unknown code before any recording is read
    return dataclasses.replace(recording, language=language)


def _scored(outcomes: Iterable[Outcome], *, as_json: bool) -> str:
    """Return the error rates of all transcripts."""
    files = [
        Scored(printable(r.name), transcript.language, r.reference, transcript.text, r.held_out)
        for r, transcript in outcomes
    ]
    if not files:
        return ""
    return score_json(score(files)) if as_json else score_table(score(files))
