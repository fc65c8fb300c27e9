"""Command `mms identify`: the language of recordings."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mms_engine.backends.options import RunOptions
from mms_engine.cli.audio_options import AudioChoice, audio_options
from mms_engine.cli.options import engine_options, json_option
from mms_engine.cli.program import FiniteFloat, SectionedCommand, interruptible, one_line, section

if TYPE_CHECKING:
    from mms_engine.lid.identifier import Identifier
    from mms_engine.lid.options import IdentifierOptions
    from mms_engine.types import Identification, LanguageScore

_EXAMPLES = """\b
Examples:
  mms identify clip.flac
  mms identify recordings/ --among eng,fra,Swahili --bundle bundles/mms-lid-126
  mms identify talk.mp3 --top 5 --json
"""
_WORDS = {"unsure": "unsure", "no_speech": "no speech", "too_short": "too short"}
_language = section("Language")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """Arguments of the command line."""

    files: tuple[str, ...]
    among: str | None
    top: int
    window: float
    min_logit: float
    as_json: bool
    bundle: Path | None
    audio: AudioChoice
    engine: RunOptions

    def options(self) -> "IdentifierOptions":
        from mms_engine.lid.options import IdentifierOptions

        return IdentifierOptions(
            **dataclasses.asdict(self.engine),
            window_seconds=self.window,
            min_logit=self.min_logit,
            allow_truncated=self.audio.allow_truncated,
            track=self.audio.track,
            channel=self.audio.channel,
        )


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@_language(
    "--among",
    metavar="LIST",
    help="Languages to choose from, separated by commas: codes or names such as eng,fr,Swahili.  "
    "[default: all of the model]",
)
@_language(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    default=3,
    show_default=True,
    help="Number of languages to print, best first.",
)
@_language(
    "--window",
    type=FiniteFloat(10, 30),
    metavar="SECONDS",
    default=20.0,
    show_default=True,
    help="Duration of the windows that longer recordings are cut into, 10 to 30 s.",
)
@_language(
    "--min-logit",
    type=FiniteFloat(),
    metavar="NUMBER",
    default=0.0,
    show_default=True,
    help="Floor of the best language's raw score, below which the answer is unsure.",
)
@audio_options
@json_option
@section("Model and device")(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    envvar="MMS_BUNDLE",
    show_envvar=True,
    help="Bundle of language identification, written by mms-export --model facebook/mms-lid-126.  "
    "[default: the bundle of mms-export --model demo-lid]",
)
@engine_options
def identify(**values: Any) -> None:  # noqa: ANN401
    """Find the language of recordings.

    FILES are audio or video files, folders, or - for standard input. Each is one line: its best
    languages with their probabilities among the languages to choose from, or unsure, no speech or
    too short.
    """
    request = _Request(**values)
    interruptible(lambda: _run(request))


def _run(request: _Request) -> None:
    """Identify, and print a line per recording.

    Raises:
        click.UsageError: the arguments contradict each other.
        MmsError: the engine cannot be opened, or the only recording failed.
        click.ClickException: some of several recordings failed; each was reported.
    """
    from mms_engine.cli.options import find_bundle
    from mms_engine.cli.progress import Bar, open_with_bar
    from mms_engine.cli.transcribe.recordings import from_arguments
    from mms_engine.errors import MmsError
    from mms_engine.lid.identifier import Identifier

    recordings = from_arguments(request.files, None)
    report_folders(recordings.skipped, recordings.unreadable)
    options, limits = request.options(), request.audio.limits()
    failed = 0
    bundle = find_bundle(request.bundle, "demo-lid")
    opened = open_with_bar(bundle, lambda: Identifier.open(bundle, options=options, limits=limits))
    with opened as identifier:
        among = _resolved(request.among, identifier)
        with Bar() as bar:
            for recording in recordings.found:
                try:
                    found = identifier.identify(
                        recording.source, among, request.top, progress=bar.advance
                    )
                except MmsError as error:
                    if len(recordings.found) == 1 and not recordings.unreadable:
                        raise
                    failed += 1
                    with bar.paused():
                        click.echo(f"Error: {recording.name}: {one_line(error)}", err=True)
                    continue
                with bar.paused():
                    for warning in found.warnings:
                        click.echo(f"Warning: {recording.name}: {warning}", err=True)
                    render = _json if request.as_json else _line
                    click.echo(render(recording.name, found))
    if failed or recordings.unreadable:
        counts = f"{failed} of {len(recordings.found)} recordings failed"
        folders = len(recordings.unreadable)
        if folders:
            counts += f", {folders} folder{'' if folders == 1 else 's'} could not be listed"
        raise click.ClickException(counts)


def report_folders(skipped: list[Path], unreadable: list[OSError]) -> None:
    """Report the files and folders that were passed over."""
    from mms_engine.cli.transcribe.resume import first_names

    if skipped:
        count = f"{len(skipped)} file{'' if len(skipped) == 1 else 's'}"
        names = first_names([str(path) for path in skipped])
        click.echo(f"Skipped {count} without audio: {names}", err=True)
    for error in unreadable:
        click.echo(f"Error: cannot list {error.filename}: {error.strerror}", err=True)


def _resolved(among: str | None, identifier: "Identifier") -> list[str] | None:
    """Return the labels of `--among`."""
    from mms_engine.languages import resolve

    if among is None:
        return None
    queries = [query.strip() for query in among.split(",")]
    return [resolve(query, identifier.languages) for query in queries if query]


def _line(name: str, found: "Identification") -> str:
    scores = "; ".join(map(_score, found.scores))
    word = _WORDS.get(found.answer)
    return f"{name}: {': '.join(part for part in (word, scores) if part)}"


def _score(score: "LanguageScore") -> str:
    name = _name(score.code)
    named = f"{score.code} ({name})" if name else score.code
    return f"{named} {score.probability:.1%}"


def _name(code: str) -> str:
    """Return the English name of a label; empty if it is unknown."""
    from mms_engine.languages import all_languages

    return next((one.name for one in all_languages("lid") if one.code == code), "")


def _json(name: str, found: "Identification") -> str:
    import msgspec

    from mms_engine.system import printable

    document = {"file": printable(name), **msgspec.to_builtins(found)}
    for score in document["scores"]:
        score["name"] = _name(score["code"])
    return msgspec.json.encode(document).decode()
