"""Rows of tables and manifests as clips: the names that fields have in them."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Clip, Part, Side, Skipped, Unusable
from mms_export.training.corpus.reading import ReadingOptions

_AUDIO = ("file_name", "audio_filepath", "path", "file", "audio")
_TEXT = ("text", "sentence", "transcription", "transcript")
_SPEAKER = ("speaker", "speaker_id", "client_id", "spk_id")
_HELD_OUT = frozenset({"test", "dev", "eval", "valid", "validation", "held-out"})

Row = tuple[int, Mapping[str, Any]]
"""Number of a line in its file, and its fields by name."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        MmsError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise MmsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MmsError(f"{path}, line {line}: not UTF-8: save the file in UTF-8") from error


def table_rows(path: Path, *, delimiter: str, has_quotes: bool) -> Iterator[Row]:
    """Yield the rows of a table, whose first line names its columns.

    Raises:
        MmsError: it cannot be read, or a row has more fields than there are columns.
    """
    text = io.StringIO(read_text(path), newline="")
    reader = csv.DictReader(
        text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    )
    try:
        for row in reader:
            if None in row:
                raise MmsError(
                    f"{path}, line {reader.line_num}: more fields than the first line has columns"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise MmsError(f"{path}, line {reader.line_num + 1}: {error}") from error


def clips_of(
    rows: Iterable[Row], path: Path, folders: Sequence[Path], options: ReadingOptions
) -> Part:
    """Return the clips of rows.

    Args:
        rows: Rows in order.
        path: File of the rows.
        folders: Folders to which the paths of recordings may be relative.
        options: Choices of the user.

    Raises:
        MmsError: the rows have no field for the recording or the text, or are in several
            languages, none of which is that of the options.
    """
    rows = list(rows)
    texts = (options.text_column,) if options.text_column else _TEXT
    names = {name for _, row in rows for name in row}
    for what, known in (("recording", _AUDIO), ("text", texts)):
        if rows and not names.intersection(known):
            raise MmsError(
                f"{path} has no column for the {what} ({', '.join(known)}): its columns are "
                f"{', '.join(sorted(map(str, names)))}"
            )
    languages = {str(row["lang"]) for _, row in rows if row.get("lang")}
    if len(languages) > 1 and options.language not in languages:
        raise MmsError(
            f"{path} has rows in {', '.join(sorted(languages))}, and none in {options.language}: "
            "write its code for your language into them, or keep the rows of one"
        )
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    if options.language in languages:
        others = [row for _, row in rows if row.get("lang") != options.language]
        rows = [(line, row) for line, row in rows if row.get("lang") == options.language]
        if others:
            languages = {str(row.get("lang")) for row in others}
            count = f"{len(others)} row{'s' * (len(others) != 1)}"
            skipped.append(
                Skipped(str(path), f"{count} in other languages: {', '.join(sorted(languages))}")
            )
    for line, row in rows:
        where = f"{path}, line {line}"
        try:
            clips.append(_clip(row, where, folders, texts))
        except (Unusable, ValueError, TypeError) as error:
            skipped.append(Skipped(where, str(error)))
    return Part(tuple(clips), tuple(skipped))


def _clip(
    row: Mapping[str, Any], where: str, folders: Sequence[Path], texts: Sequence[str]
) -> Clip:
    audio = _audio(_first(row, _AUDIO), folders)
    start = float(row.get("offset") or 0)
    duration = row.get("duration")
    return Clip(
        audio=audio,
        text=_first(row, texts),
        where=where,
        start=start,
        end=None if duration is None else start + float(duration),
        speaker=_first(row, _SPEAKER),
        recording=str(row.get("recording") or audio),
        side=_side(str(row.get("split") or "").lower()),
    )


def _side(split: str) -> Side | None:
    if split in _HELD_OUT:
        return "held-out"
    return "train" if split == "train" else None


def _audio(name: str, folders: Sequence[Path]) -> Path:
    if not name or "\0" in name:
        raise Unusable("it names no recording")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise Unusable(f"there is no recording {folders[0] / name}")


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the first of some fields that a row has; empty for none."""
    values = (row.get(name) for name in names)
    return next((str(value) for value in values if value is not None), "")
