"""Execution of `mms transcribe`."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from mms_engine.asr.jobs import Job, JobResult
from mms_engine.asr.options import RecognizerOptions, concurrent_runs
from mms_engine.asr.recognizer import Recognizer
from mms_engine.audio.running_norm import NormalizationOptions
from mms_engine.backends.options import RunOptions, with_given
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.cli.audio_options import AudioChoice
from mms_engine.cli.cluster_options import BulkChoice
from mms_engine.cli.decoder_options import DecoderChoice
from mms_engine.cli.options import find_bundle
from mms_engine.cli.program import one_line
from mms_engine.cli.progress import Bar, open_with_bar
from mms_engine.cli.routing_options import RoutingChoice, is_auto
from mms_engine.cli.transcribe.journal import NAME as JOURNAL
from mms_engine.cli.transcribe.journal import ClaimedError
from mms_engine.cli.transcribe.output import Output
from mms_engine.cli.transcribe.recordings import (
    STDIN,
    Recording,
    Recordings,
    from_arguments,
    from_table,
)
from mms_engine.cli.transcribe.resume import SHOWN_NAMES, Resume, first_names
from mms_engine.encoder.offline import Progress
from mms_engine.errors import BundleError, LanguageError, MmsError
from mms_engine.languages import all_languages, resolve
from mms_engine.types import NormalizationScope, Transcript

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
    diff: bool
    format_name: str
    as_json: bool
    output: str | None
    resume: bool
    show_skipped: bool
    audio: AudioChoice
    normalization: NormalizationScope
    decoding: DecoderChoice
    routing: RoutingChoice
    bulk: BulkChoice
    engine: RunOptions


def run(request: TranscribeRequest) -> None:
    """Transcribe, and write or score the transcripts.

    Raises:
        click.UsageError: the arguments contradict each other.
        MmsError: the engine cannot be opened, or the only recording failed.
        click.ClickException: some of several recordings failed; each was reported.
    """
    if request.reference is not None:
        from mms_engine.asr.scoring import load_jiwer

        load_jiwer()  # fail before transcribing
    elif request.diff:
        raise click.UsageError("--diff needs --reference")
    recordings = _recordings(request)
    request.bulk.check(has_stdin=any(one.name == STDIN for one in recordings.found))
    request.routing.check(_auto(request, recordings.found))
    output = _output(request, recordings.found)
    bundle = open_bundle(find_bundle(request.bundle), verify=request.engine.verify)
    spoken = [_with_language(recording, request, bundle) for recording in recordings.found]
    options = _options(request, spoken)
    _report_skipped(recordings, output, show_all=request.show_skipped)
    routing = request.routing.digest(bundle.path) if _auto(request, spoken) else None
    resume = Resume(output, options, bundle, routing) if request.resume else None
    remaining = spoken if resume is None else resume.remaining(spoken)
    outcomes = _Outcomes(spoken, remaining, resume, in_order=not output.is_folder)
    if remaining:
        with _engine(request, bundle, options, remaining) as (engine, known):
            if bundle.manifest.source.notice:
                click.echo(bundle.manifest.source.notice, err=True)
            _transcribe(request, engine, known, outcomes, output)
    outcomes.finish(len(recordings.unreadable))


class Engine(Protocol):
    """Recogniser, router, or a cluster of them."""

    def transcribe_each(
        self, jobs: Iterable[Job], progress: Progress | None = None
    ) -> Iterator[JobResult]:
        """Transcribe jobs; see `Recognizer.transcribe_each`."""


@contextlib.contextmanager
def _engine(
    request: TranscribeRequest,
    bundle: Bundle,
    options: RecognizerOptions,
    recordings: list[Recording],
) -> Iterator[tuple[Engine, Collection[str]]]:
    """Open the engine; yield it, and the warnings that were printed.

    Raises:
        MmsError: it cannot be opened.
    """
    limits, routing = request.audio.limits(), request.routing
    is_auto = _auto(request, recordings) is not None
    if request.bulk.ray is not None:
        from mms_engine.cluster.config import BulkPlan

        plan = BulkPlan(
            bundle=bundle.path.resolve(),
            options=with_given(options, threads=options.threads or request.bulk.threads),
            limits=limits,
            identifier=routing.path(bundle.path).resolve() if is_auto else None,
            identification=routing.identification(request.engine),
            routing=routing.options(),
        )
        with request.bulk.open(plan) as cluster:
            yield cluster, ()
        return
    if not is_auto:  # a router hands over one recording after the other
        runs = concurrent_runs(len(recordings), options.threads)
        options = dataclasses.replace(options, concurrent_runs=runs)
    opened = open_with_bar(
        bundle.path, lambda: Recognizer.open(bundle.path, options=options, limits=limits)
    )
    with opened as recognizer:
        is_beam = request.decoding.is_beam
        known = _decoder_warnings(recognizer, recordings) if is_beam else set()
        if not is_auto:
            yield recognizer, known
            return
        from mms_engine.routing.router import Router

        with routing.open(recognizer, request.engine, limits) as identifier:
            yield Router(recognizer, identifier, routing.options()), known


def _auto(request: TranscribeRequest, recordings: list[Recording]) -> str | None:
    """Return `--lang`, or a language of a table that is to be identified; `None` for none."""
    languages = [request.lang, *(recording.language for recording in recordings)]
    return next((language for language in languages if is_auto(language)), None)


def _transcribe(
    request: TranscribeRequest,
    engine: Engine,
    known: Collection[str],
    outcomes: "_Outcomes",
    output: Output,
) -> None:
    report = ""
    with Bar() as bar:
        transcripts = outcomes.transcribe(engine, bar, known)
        if request.reference is not None:
            from mms_engine.cli.transcribe.scores import score_report

            report = score_report(
                transcripts, as_json=request.as_json, with_differences=request.diff
            )
        else:
            with output:
                for recording, transcript in transcripts:
                    with bar.paused():
                        outcomes.write(output, recording, transcript)
    click.echo(report, nl=False)


def _decoder_warnings(recognizer: Recognizer, recordings: list[Recording]) -> set[str]:
    """Print and return the remarks on the language model and hotwords, once per language.

    Raises:
        LanguageModelError: they cannot be used.
    """
    known: set[str] = set()
    languages = {str(one.language) for one in recordings if not is_auto(one.language)}
    for language in sorted(languages):
        with contextlib.suppress(BundleError, LanguageError):  # an error of its recordings
            for warning in recognizer.decoder_warnings(language):
                click.echo(f"Warning: {warning}", err=True)
                known.add(warning)
    return known


def _output(request: TranscribeRequest, recordings: list[Recording]) -> Output:
    format_name = "json" if request.as_json else request.format_name
    output = Output(format_name, request.output, several=len(recordings) > 1)
    if request.reference is None:
        decoding = request.decoding
        tables = (request.table, decoding.lm, decoding.hotwords, decoding.zero_shot)
        output.check(recordings, [table for table in tables if table is not None])
    elif request.output is not None or request.resume:
        raise click.UsageError("--reference prints error rates: omit --output and --resume")
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
        normalization=NormalizationOptions() if request.normalization == "running" else None,
    )


class _Outcomes:
    """Transcripts of the recordings; failures are reported, counted and skipped."""

    def __init__(
        self,
        all_recordings: list[Recording],
        remaining: list[Recording],
        resume: Resume | None,
        *,
        in_order: bool,
    ) -> None:
        """Prepare.

        Args:
            all_recordings: Recordings of the command line.
            remaining: Those to transcribe.
            resume: Journal of the output folder.
            in_order: Whether transcripts are yielded in the order of the recordings, rather than
                as they are ready.
        """
        self._all = all_recordings
        self.remaining = remaining
        """Recordings to transcribe."""
        self._known: Collection[str] = ()
        self._resume = resume
        self._in_order = in_order
        self._failed = 0

    def transcribe(self, engine: Engine, bar: Bar, known: Collection[str]) -> Iterator[Outcome]:
        """Yield the recordings that succeed, with their transcripts.

        Warnings in `known` have been printed.
        """
        self._known = known
        numbers: dict[int, int] = {}

        def jobs() -> Iterator[Job]:
            for number, recording in enumerate(self.remaining):
                if self._resume is not None:
                    self._resume.begin(recording)
                job = Job(recording.source, str(recording.language))
                numbers[id(job)] = number
                yield job

        waiting: dict[int, JobResult] = {}
        following = 0
        for result in engine.transcribe_each(jobs(), bar.advance):
            number = numbers.pop(id(result.job))
            if not self._in_order:
                yield from self._outcome(self.remaining[number], result, bar)
                continue
            waiting[number] = result
            while following in waiting:
                yield from self._outcome(self.remaining[following], waiting.pop(following), bar)
                following += 1

    def _outcome(self, recording: Recording, result: JobResult, bar: Bar) -> Iterator[Outcome]:
        is_alone = len(self._all) == 1 and self._resume is None
        if result.error is None or is_alone:
            transcript = result.unwrap()
            with bar.paused():
                for warning in transcript.warnings:
                    if warning not in self._known:
                        click.echo(f"Warning: {recording.name}: {warning}", err=True)
            yield recording, transcript
            return
        with bar.paused():
            self._fail(recording, result.error)

    def _fail(self, recording: Recording, error: MmsError) -> None:
        self._failed += 1
        _report(recording, error)

    def write(self, output: Output, recording: Recording, transcript: Transcript) -> None:
        """Write a transcript.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._resume is None:
            output.write(recording, transcript)
            return
        try:
            self._resume.write(recording, transcript)
        except ClaimedError as error:
            self._fail(recording, error)

    def finish(self, unreadable: int) -> None:
        """Report the counts, if resumed.

        Args:
            unreadable: Folders that could not be listed.

        Raises:
            click.ClickException: a recording failed, or a folder could not be listed.
        """
        counts = f"{self._failed} of {len(self._all)} recordings failed"
        if self._resume is not None:
            skipped = self._resume.skipped
            done = len(self._all) - skipped - self._failed
            counts = f"{done} transcribed, {skipped} skipped, {self._failed} failed"
        if unreadable:
            counts += f", {unreadable} folder{'' if unreadable == 1 else 's'} could not be listed"
        if self._failed or unreadable:
            raise click.ClickException(counts)
        if self._resume is not None:
            click.echo(counts, err=True)


def _report(recording: Recording, error: MmsError) -> None:
    message = one_line(error)
    named = message if recording.name in message else f"{recording.name}: {message}"
    click.echo(f"Error: {named}", err=True)


def _recordings(request: TranscribeRequest) -> Recordings:
    given = [request.files, request.table, request.reference]
    if sum(bool(source) for source in given) != 1:
        raise click.UsageError(
            "name the recordings by exactly one of FILES, --list and --reference"
        )
    table = request.table or request.reference
    if table is not None:
        return Recordings(from_table(table, with_text=request.reference is not None))
    excluded = None if request.output in (None, STDIN) else Path(str(request.output))
    return from_arguments(request.files, excluded)


def _report_skipped(recordings: Recordings, output: Output, *, show_all: bool) -> None:
    """Report the files and folders that were passed over, outputs excepted."""
    own: set[Path] = set()
    if output.is_folder:
        own = {_located(output.file(one)) for one in recordings.found}
        own.add(_located(Path(str(output.path)) / JOURNAL))
    names = [str(path) for path in recordings.skipped if _located(path) not in own]
    if names:
        listed = ", ".join(names) if show_all else first_names(names)
        hint = "" if show_all or len(names) <= SHOWN_NAMES else " (--show-skipped lists all)"
        count = f"{len(names)} file{'' if len(names) == 1 else 's'}"
        click.echo(f"Skipped {count} without audio: {listed}{hint}", err=True)
    for error in recordings.unreadable:
        click.echo(f"Error: cannot list {error.filename}: {error.strerror}", err=True)


def _located(path: Path) -> Path:
    """Return a path with the links of its folders followed, not its own, which may be a loop."""
    return path.parent.resolve() / path.name


def _with_language(recording: Recording, request: TranscribeRequest, bundle: Bundle) -> Recording:
    language = recording.language or request.lang
    if is_auto(request.lang) or is_auto(language):
        language = request.lang if is_auto(request.lang) else language
        spoken = None if is_auto(recording.language) else recording.language
        return dataclasses.replace(recording, language=language, spoken=spoken)
    if language is None:
        language = bundle.only_language
    if language is None:
        known = ", ".join(bundle.languages[:_SHOWN_LANGUAGES])
        more = ", …" if len(bundle.languages) > _SHOWN_LANGUAGES else ""
        raise click.UsageError(f"--lang is required: the bundle has {known}{more}")
    model = bundle.manifest.model
    is_romanized = isinstance(model, Wav2Vec2Ctc) and model.text == "uroman"
    takes_any = is_romanized and request.decoding.zero_shot is not None
    if takes_any and language not in bundle.languages:
        language = resolve(language, [one.code for one in all_languages()])
    elif request.lang is not None:
        bundle.entry(language)  # refuse an unknown code before any recording is read
    return dataclasses.replace(recording, language=language)
