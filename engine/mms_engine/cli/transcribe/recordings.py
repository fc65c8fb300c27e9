"""Recordings of a command line: files, folders, standard input, or the rows of a TSV."""

import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

STDIN = "-"
_TYPES = (
    "3gp aac ac3 aif aiff amr au avi caf flac g722 gsm m4a m4v mka mkv mov mp2 mp3 mp4 oga ogg",
    "opus sph w64 wav webm wma wv",
)
SUFFIXES = frozenset(f".{name}" for line in _TYPES for name in line.split())
"""Suffixes of recordings in a folder; a file named directly may have any suffix."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording to transcribe."""

    name: str
    """Path as given on the command line, or found in a folder."""
    output: Path
    """Relative path of its transcript, without suffix."""
    language: str | None = None
    reference: str = ""
    held_out: bool = False

    @property
    def source(self) -> Path | BinaryIO:
        """Path or stream to read."""
        return sys.stdin.buffer if self.name == STDIN else Path(self.name)


def from_arguments(arguments: Iterable[str]) -> list[Recording]:
    """Return the recordings of files, folders (searched recursively) and `-`.

    Raises:
        click.UsageError: a folder contains none.
    """
    recordings: list[Recording] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            recordings.append(Recording(STDIN, Path("stdin")))
        elif path.is_dir():
            found = [Recording(str(p), p.relative_to(path).with_suffix("")) for p in _walk(path)]
            if not found:
                raise click.UsageError(f"{path} contains no recordings: name the files instead")
            recordings.extend(found)
        else:
            recordings.append(Recording(argument, Path(path.stem)))
    return recordings


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def from_table(table: Path, *, with_text: bool) -> list[Recording]:
    """Return the recordings of a TSV with the columns file, lang and, `with_text`, text.

    Paths are relative to the TSV. The column held_out marks files held out of training.

    Raises:
        click.UsageError: it cannot be read, lacks a column, is empty, or a row is incomplete.
    """
    needed = ("file", "lang", "text") if with_text else ("file", "lang")
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise click.UsageError(
                    f"{table} has no column {', '.join(missing)}: its first line must name "
                    f"the columns {', '.join(needed)}, separated by tabs"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {table}: {error}") from error
    if not rows:
        raise click.UsageError(f"{table} contains no recordings: add one line for each")
    for line, row in rows:
        empty = [name for name in needed if not row[name]]
        if empty:
            raise click.UsageError(f"{table}, line {line}: no {', '.join(empty)}")
    return [_from_row(table.parent, row) for _, row in rows]


def _from_row(folder: Path, row: dict[str, str]) -> Recording:
    path = folder / row["file"]
    return Recording(
        name=str(path),
        output=Path(Path(row["file"]).stem),
        language=row["lang"],
        reference=row.get("text") or "",
        held_out=(row.get("held_out") or "").lower() in {"1", "true", "yes", "y"},
    )
