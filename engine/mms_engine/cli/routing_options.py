"""Options of `mms transcribe` and `mms stream` for speech whose language is identified."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mms_engine.backends.options import RunOptions
from mms_engine.cli.options import grouped
from mms_engine.cli.program import section
from mms_engine.errors import BundleFileMissing
from mms_engine.system import demo_bundle

if TYPE_CHECKING:
    from mms_engine.asr.recognizer import Recognizer
    from mms_engine.audio import AudioLimits
    from mms_engine.lid.identifier import Identifier
    from mms_engine.routing.options import RoutingOptions

_MOST_RERANKED = 32
_language = section("Identified language (--lang auto)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingChoice:
    """Options of the command line for `--lang auto`."""

    identifier: Path | None
    switching: bool | None
    nearest: bool
    rerank: int = 1

    def check(self, lang: str | None) -> None:
        """Check the options for contradictions.

        Raises:
            click.UsageError: one needs `--lang auto`, or two exclude each other.
        """
        given = {
            "--switching": self.switching is not None,
            "--nearest": self.nearest,
            "--rerank": self.rerank > 1,
        }
        for flag, is_given in given.items():
            if is_given and not is_auto(lang):
                raise click.UsageError(f"{flag} needs --lang auto")
        if self.switching and self.rerank > 1:
            raise click.UsageError("--rerank and --switching exclude each other")

    def digest(self, recognizer: Path) -> list[object]:
        """Return all that an identified language depends on besides the recording.

        Raises:
            BundleError: the bundle of language identification cannot be read.
        """
        from mms_engine.bundle import open_bundle

        weights = open_bundle(self.path(recognizer)).manifest.source.fingerprint
        return [dataclasses.asdict(self.options()), weights]

    def options(self) -> "RoutingOptions":
        """Return the options of routing."""
        from mms_engine.routing.options import RoutingOptions

        return RoutingOptions(switching=self.switching, nearest=self.nearest, rerank=self.rerank)

    @contextlib.contextmanager
    def open(
        self, recognizer: "Recognizer", engine: RunOptions, limits: "AudioLimits | None" = None
    ) -> Iterator["Identifier"]:
        """Open the identifier of a recogniser.

        Raises:
            BundleError: it is missing, or of another task.
        """
        from mms_engine.cli.progress import open_with_bar
        from mms_engine.lid.identifier import Identifier
        from mms_engine.lid.options import IdentifierOptions

        path = self.path(recognizer.bundle.path)
        chosen = dataclasses.asdict(engine)
        chosen.update(backend=None, precision=None)  # those of the recogniser's bundle
        options = IdentifierOptions(**chosen)
        opened = open_with_bar(path, lambda: Identifier.open(path, options=options, limits=limits))
        with opened as identifier:
            yield identifier

    def path(self, recognizer: Path) -> Path:
        """Return the folder of the identifier for a recogniser's bundle.

        Raises:
            BundleFileMissing: none was chosen, and there is no default.
        """
        if self.identifier is not None:
            return self.identifier
        default = demo_bundle("demo-lid")
        if recognizer.resolve() == demo_bundle().resolve() and default.is_dir():
            return default
        raise BundleFileMissing(
            "--lang auto needs a bundle of language identification: choose one with --identifier "
            "or MMS_IDENTIFIER, such as that of mms-export --model facebook/mms-lid-126"
        )


def is_auto(lang: str | None) -> bool:
    """Return whether a value of `--lang` is `auto` or `auto:LIST`."""
    return lang is not None and lang.partition(":")[0] == "auto"


_IDENTIFIER = _language(
    "--identifier",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    envvar="MMS_IDENTIFIER",
    show_envvar=True,
    help="Bundle of language identification, written by mms-export --model facebook/mms-lid-126.  "
    "[default: the demo's, with the demo bundle]",
)
_NEAREST = _language(
    "--nearest",
    is_flag=True,
    help="Recognise speech in a language without an adapter with that of the most likely language "
    "that has one, instead of reporting it.",
)
_RERANK = _language(
    "--rerank",
    type=click.IntRange(1, _MOST_RERANKED),
    metavar="N",
    default=1,
    show_default=True,
    help="Most likely languages to decode each recording in; the best text decides.",
)


recording_routing = grouped(
    "routing",
    RoutingChoice,
    (
        _IDENTIFIER,
        _language(
            "--switching/--no-switching",
            default=None,
            help="Find where the language changes within a recording, instead of one language for "
            "the whole.  [default: --no-switching]",
        ),
        _NEAREST,
        _RERANK,
    ),
)
"""Adds the options of recordings as the argument `routing`."""
stream_routing = grouped(
    "routing",
    RoutingChoice,
    (
        _IDENTIFIER,
        _language(
            "--switching/--no-switching",
            default=None,
            help="Keep listening for a change of language, instead of deciding once.  "
            "[default: --switching]",
        ),
        _NEAREST,
    ),
)
"""Adds the options of streams as the argument `routing`."""
