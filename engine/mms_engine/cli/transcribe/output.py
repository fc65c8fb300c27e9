"""Output of transcripts: standard output, one file, or a folder with one file each."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from mms_engine.cli.transcribe.recordings import STDIN, Recording
from mms_engine.errors import MmsError
from mms_engine.formats import FORMATS, check_installed, render
from mms_engine.types import Transcript

_SEVERAL_IN_ONE = frozenset({"text", "json", "ctm"})


@dataclass(frozen=True, slots=True)
class Output:
    """Destination of the transcripts of one command."""

    format_name: str
    path: str | None
    """`None` or `-` for standard output."""
    several: bool
    """Whether there is more than one recording."""

    @property
    def is_stdout(self) -> bool:
        """Whether transcripts go to standard output."""
        return self.path in (None, STDIN)

    @property
    def is_folder(self) -> bool:
        """Whether each recording has its own file."""
        if self.path is None or self.is_stdout:
            return False
        return Path(self.path).is_dir() or self.path.endswith(("/", os.sep))

    def check(self, recordings: Sequence[Recording]) -> None:
        """Check that no transcript overwrites another, before any is computed.

        Raises:
            click.UsageError: two recordings share an output file, or a format needs a folder.
        """
        check_installed(self.format_name)
        if not self.is_folder:
            if self.several and self.format_name not in _SEVERAL_IN_ONE:
                raise click.UsageError(
                    f"--format {self.format_name} with several recordings needs a folder: "
                    "--output FOLDER/ (with the trailing slash)"
                )
            return
        taken: dict[Path, str] = {}
        for recording in recordings:
            path = self._file(recording)
            if path in taken:
                raise click.UsageError(
                    f"{taken[path]} and {recording.name} would both be written to {path}: "
                    "transcribe them with separate commands"
                )
            taken[path] = recording.name

    def start(self) -> None:
        """Empty the output file, to which transcripts are appended.

        Raises:
            MmsError: the file cannot be written.
        """
        if not self.is_stdout and not self.is_folder:
            _write(Path(str(self.path)), "", append=False)

    def write(self, recording: Recording, transcript: Transcript) -> None:
        """Write one transcript.

        Raises:
            MmsError: the file cannot be written.
        """
        name = recording.name if self.format_name == "json" else recording.output.name
        media = "" if recording.name == STDIN else recording.name
        text = render(transcript, name, format_name=self.format_name, media=media)
        if self.several and not self.is_folder and self.format_name == "text":
            text = f"{recording.name}\t{text}"
        if self.is_stdout:
            sys.stdout.write(text)
            sys.stdout.flush()
        elif self.is_folder:
            _write(self._file(recording), text, append=False)
        else:
            _write(Path(str(self.path)), text, append=True)

    def _file(self, recording: Recording) -> Path:
        relative = recording.output.with_name(
            recording.output.name + FORMATS[self.format_name].suffix
        )
        return Path(str(self.path)) / relative


def _write(path: Path, text: str, *, append: bool) -> None:
    """Append to a file, or replace it atomically."""
    target = path if append else path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if append else "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        target.replace(path)
    except OSError as error:
        raise MmsError(f"cannot write {path}: {error.strerror}; choose another --output") from error
