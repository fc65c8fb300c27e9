"""Recordings of a command line: files, folders, standard input, or the rows of a TSV."""

import csv
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import click

from mms_engine.audio.probe import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mms_engine.audio.remote import RemoteFile, find_recordings, is_url
from mms_engine.cli.transcribe.folders import search_folder

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording to transcribe."""

    name: str
    """Path or URL as given on the command line, or found in a folder."""
    output: Path
    """Relative path of its transcript, without suffix; it never leads out of the folder."""
    language: str | None = None
    spoken: str | None = None
    """Language to score as, where `language` is to be identified."""
    reference: str = ""
    held_out: bool = False

    @property
    def source(self) -> Path | BinaryIO:
        """Path or stream to read."""
        if is_url(self.name):
            return cast("BinaryIO", RemoteFile(self.name))
        return sys.stdin.buffer if self.name == STDIN else Path(self.name)


@dataclass(slots=True)
class Recordings:
    """Recordings of a command line, and what was passed over in its folders."""

    found: list[Recording] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    """Files without audio."""
    unreadable: list[OSError] = field(default_factory=list)
    """Folders that cannot be listed."""


def from_arguments(arguments: Sequence[str], excluded: Path | None) -> Recordings:
    """Return the recordings of files, folders (searched recursively), URLs and `-`.

    Outputs keep the path below the only folder, or below the folder that holds all arguments. A URL
    is a folder if it ends in a slash; outputs of several URLs begin with the host.

    Args:
        arguments: Arguments of the command line.
        excluded: Folder that is not searched, such as that of the output.

    Raises:
        click.UsageError: a folder contains no recordings.
        AudioError: a URL cannot be listed.
    """
    paths = [Path(one) for one in arguments if one != STDIN and not is_url(one)]
    is_one_folder = len(arguments) == 1 and len(paths) == 1 and paths[0].is_dir()
    base = _absolute(paths[0]) if is_one_folder else _common_folder(paths)
    recordings = Recordings()
    for argument in arguments:
        path = Path(argument)
        if is_url(argument):
            _add_url(recordings, argument, is_alone=len(arguments) == 1)
        elif argument == STDIN:
            recordings.found.append(Recording(STDIN, Path("stdin")))
        elif path.is_dir():
            contents = search_folder(path, excluded)
            if not contents.recordings and not contents.unreadable:
                raise click.UsageError(f"{path} contains no recordings: name the files instead")
            recordings.found += [Recording(str(p), _output(p, base)) for p in contents.recordings]
            recordings.skipped += contents.skipped
            recordings.unreadable += contents.unreadable
        else:
            recordings.found.append(Recording(argument, _output(path, base)))
    return recordings


def _add_url(recordings: Recordings, url: str, *, is_alone: bool) -> None:
    if not url.endswith("/"):
        base = url.rpartition("/")[0] + "/" if is_alone else ""
        recordings.found.append(Recording(url, _url_output(url, base)))
        return
    found, skipped = find_recordings(url)
    if not found:
        raise click.UsageError(f"{url} contains no recordings: name the files instead")
    base = url if is_alone else ""
    recordings.found += [Recording(one, _url_output(one, base)) for one in found]
    recordings.skipped += [Path(one) for one in skipped]


def _url_output(url: str, base: str) -> Path:
    """Return the path of a recording below a URL, or of its host, without an audio suffix."""
    rest = url.removeprefix(base) if base and url.startswith(base) else url.partition("://")[2]
    parts = [part for part in PurePosixPath(rest).parts if part not in ("/", "..", ".")]
    return _without_suffix(Path(*parts))


def from_table(table: Path, *, with_text: bool) -> list[Recording]:
    """Return the recordings of a TSV with the columns file, lang and, `with_text`, text.

    Paths are relative to the TSV; URLs are whole. Outputs keep the paths, or if some lead out of
    its folder, the path below the folder that holds all recordings. The column held_out marks files
    held out of training.

    Raises:
        click.UsageError: it cannot be read, lacks a column, is empty, or a row is incomplete.
    """
    rows = read_table(table, ("file", "lang", "text") if with_text else ("file", "lang"))
    names = [row["file"] for row in rows]
    paths = [table.parent / name for name in names if not is_url(name)]
    local = iter(zip(paths, table_outputs(table, paths), strict=True))
    remote = ((name, _url_output(name, "")) for name in names if is_url(name))
    return [
        Recording(
            name=str(source),
            output=output,
            language=row["lang"],
            reference=row.get("text") or "",
            held_out=(row.get("held_out") or "").lower() in {"1", "true", "yes", "y"},
        )
        for row in rows
        for source, output in [next(remote if is_url(row["file"]) else local)]
    ]


def table_outputs(table: Path, paths: Sequence[Path]) -> list[Path]:
    """Return the relative paths of the outputs of a table's recordings, without suffix."""
    base = _absolute(table.parent)
    if not all(_absolute(path).is_relative_to(base) for path in paths):
        base = _common_folder(paths)
    return [_output(path, base) for path in paths]


def read_table(table: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a TSV, each with the needed columns.

    Raises:
        click.UsageError: it cannot be read, lacks a column, is empty, or a row is incomplete.
    """
    reader = csv.DictReader(
        io.StringIO(_read_text(table), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    try:
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise click.UsageError(
                f"{table} has no column {', '.join(missing)}: its first line must name "
                f"the columns {', '.join(needed)}, separated by tabs"
            )
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise click.UsageError(f"{table}, line {reader.line_num + 1}: {error}") from error
    if not rows:
        raise click.UsageError(f"{table} contains no recordings: add one line for each")
    for line, row in rows:
        # A reference may be empty, as that of noise; its column may not be missing.
        empty = [name for name in needed if row[name] is None or not (row[name] or name == "text")]
        if empty:
            raise click.UsageError(f"{table}, line {line}: no {', '.join(empty)}")
        if "\0" in (row.get("file") or ""):
            raise click.UsageError(f"{table}, line {line}: the file's name has a zero byte")
    return [row for _, row in rows]


def _read_text(table: Path) -> str:
    """Return the text of a table in UTF-8, with or without a byte order mark."""
    try:
        content = table.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise click.UsageError(f"cannot read {table}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise click.UsageError(
            f"{table}, line {line}: not UTF-8 (byte 0x{byte:02X}): save the table in UTF-8"
        ) from error


def _common_folder(paths: Sequence[Path]) -> Path:
    """Return the folder that holds all paths; links are not followed."""
    folders = [_absolute(path).parent for path in paths]
    try:
        return Path(os.path.commonpath(folders)) if folders else Path()
    except ValueError:  # several drives
        return Path()


def _absolute(path: Path) -> Path:
    """Return a path without `..`, links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _output(path: Path, base: Path) -> Path:
    """Return the path of a recording below a folder, without the suffix of an audio file."""
    absolute = _absolute(path)
    if absolute.is_relative_to(base):
        relative = absolute.relative_to(base)
    else:  # on another drive
        relative = absolute.relative_to(absolute.anchor)
    return _without_suffix(relative)


def _without_suffix(path: Path) -> Path:
    is_media = path.suffix.lower() in AUDIO_SUFFIXES | VIDEO_SUFFIXES
    return path.with_suffix("") if is_media else path
