"""Pairs of a recording and its text, from arguments or the rows of a TSV."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from mms_engine.bundle import Bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.cli.transcribe.recordings import STDIN, read_table, table_outputs
from mms_engine.errors import TextError
from mms_engine.languages import all_languages, resolve

_MAX_BYTES = 256 << 20
_SHOWN_LANGUAGES = 12


@dataclass(frozen=True, slots=True)
class Pair:
    """A recording and the source of its text."""

    name: str
    """Path of the recording as the user wrote it."""
    output: Path
    """Relative path of its results, without suffix."""
    language: str | None
    text_file: Path | None
    """`-` for standard input."""
    text: str = ""
    """The text itself if there is no file."""

    @property
    def source(self) -> Path | BinaryIO:
        """Path or stream to read."""
        return sys.stdin.buffer if self.name == STDIN else Path(self.name)

    def read_text(self) -> str:
        """Return the text.

        Raises:
            TextError: the file cannot be read, is too large, or is not UTF-8.
        """
        if self.text_file is None:
            return self.text
        where = "standard input" if str(self.text_file) == STDIN else str(self.text_file)
        try:
            if str(self.text_file) == STDIN:
                content = sys.stdin.buffer.read(_MAX_BYTES + 1)
            else:
                with self.text_file.open("rb") as stream:
                    content = stream.read(_MAX_BYTES + 1)
        except OSError as error:
            raise TextError(f"cannot read {where}: {error.strerror}") from error
        if len(content) > _MAX_BYTES:
            raise TextError(f"{where} has more than {_MAX_BYTES >> 20} MiB of text: split it")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise TextError(
                f"{where}, line {line}: not UTF-8; convert it, for example with "
                f"iconv -f latin1 -t utf-8"
            ) from error


def pairs_of(files: tuple[str, ...], table: Path | None, lang: str | None) -> list[Pair]:
    """Return the pairs of a command line.

    Raises:
        click.UsageError: neither or both forms are given, or the table is incomplete.
    """
    if table is not None:
        if files:
            raise click.UsageError("name the pair by AUDIO and TEXT, or pairs by --list, not both")
        return _from_table(table, lang)
    if len(files) != len(("AUDIO", "TEXT")):
        raise click.UsageError("name a recording and its text, AUDIO and TEXT, or a --list of them")
    audio, text = files
    if audio == text == STDIN:
        raise click.UsageError("AUDIO and TEXT cannot both be standard input")
    output = Path("stdin") if audio == STDIN else Path(Path(audio).stem)
    return [Pair(audio, output, lang, Path(text))]


def _from_table(table: Path, lang: str | None) -> list[Pair]:
    rows = read_table(table, ("file",) if lang else ("file", "lang"))
    paths = [table.parent / row["file"] for row in rows]
    pairs: list[Pair] = []
    for path, output, row in zip(paths, table_outputs(table, paths), rows, strict=True):
        text_file, text = row.get("text_file"), row.get("text")
        if not text_file and not text:
            raise click.UsageError(f"{table}: {row['file']} has neither text_file nor text")
        pairs.append(
            Pair(
                name=str(path),
                output=output,
                language=row.get("lang") or lang,
                text_file=table.parent / text_file if text_file else None,
                text="" if text_file else text or "",
            )
        )
    return pairs


def with_language(pair: Pair, bundle: Bundle) -> Pair:
    """Return the pair with its language checked.

    Raises:
        click.UsageError: the language is not given, and the bundle has several.
        LanguageError: the bundle does not have it, or it is no language.
    """
    is_romanized = bundle.model(Wav2Vec2Ctc).text == "uroman"
    language = pair.language
    if language is None and not is_romanized:
        language = bundle.only_language
    if language is None:
        known = "any language" if is_romanized else ", ".join(bundle.languages[:_SHOWN_LANGUAGES])
        raise click.UsageError(f"--lang is required: the bundle has {known}")
    if is_romanized:
        language = resolve(language, [one.code for one in all_languages()])
    else:
        bundle.entry(language)  # refuse an unknown code before any recording is read
    return dataclasses.replace(pair, language=language)
