"""Corpora: clips with reference texts, in the layouts of FLEURS and Common Voice, or in a table."""

import hashlib
import io
import itertools
import tarfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mms_bench.errors import BenchError
from mms_bench.suites.accuracy.hub import Rows, fleurs_file, load_rows
from mms_engine.audio import read_audio
from mms_engine.cli.transcribe.recordings import read_table
from mms_engine.errors import AudioError
from mms_engine.languages import candidates, resolve
from mms_engine.types import Audio

FLEURS_CODES = {"fil_ph": "tgl"}
"""Languages of FLEURS whose code is not that of MMS, nor a tag of it."""
_FLEURS_COLUMNS = 5
_SPLITS = {"dev": "validation", "validation": "dev"}
"""Other name of a split."""


@dataclass(frozen=True, slots=True)
class Member:
    """File in a tar archive."""

    archive: Path
    name: str
    """Name without folders."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Row of a data set of the library `datasets`."""

    rows: Rows
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Speech with its reference text."""

    name: str
    """Name within the corpus."""
    source: Path | Member | Entry
    language: str
    text: str
    group: str
    """Speaker, or the sentence if speakers are not known: clips of a group are not independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Part of a corpus."""

    split: str
    """Such as `test`; a table without the column `split` has one."""
    known: Collection[str]
    """Codes of the models' languages."""
    languages: Collection[str] = ()
    """Codes of the languages wanted; empty for all."""
    limit: int | None = None
    """Most clips of a language; the same ones each time, and those of a lower limit among them."""


def read_corpus(data: str, choice: Choice) -> list[Clip]:
    """Return the clips of a corpus, by language.

    Args:
        data: `fleurs:FOLDER` or `fleurs:CODE,…` (of the hub), `commonvoice:FOLDER`,
            `datasets:NAME[:CONFIG]`, or the path of a table with the columns file, lang and text.
        choice: Part wanted.

    Raises:
        MmsError: there is none, it cannot be read, or has no clips in the models' languages.
        click.UsageError: a table cannot be read.
    """
    kind, colon, where = data.partition(":")
    readers = {"fleurs": _fleurs, "commonvoice": _common_voice, "datasets": _datasets}
    if colon and kind in readers:
        found = list(readers[kind](where, choice))
    else:
        found = list(_table(Path(data), choice))
    wanted = set(choice.languages or choice.known)
    by_language: dict[str, list[Clip]] = {}
    for clip in found:
        by_language.setdefault(clip.language, []).append(clip)
    chosen = [
        clip
        for language in sorted(by_language.keys() & wanted)
        for clip in _limited(by_language[language], choice.limit)
    ]
    if not chosen:
        codes = ", ".join(sorted(by_language)[:12]) or f"none in the split {choice.split}"
        raise BenchError(f"{data} has no clips in the models' languages: it has {codes}")
    return chosen


def read_clips(clips: Iterable[Clip]) -> Iterator[tuple[Clip, Audio | AudioError]]:
    """Yield clips with their audio, or the reason why it cannot be read; archives in their order.

    Raises:
        BenchError: an archive cannot be read, or lacks a clip.
    """
    for archive, group in itertools.groupby(clips, lambda clip: _archive(clip.source)):
        if archive is None:
            yield from ((clip, _decode(clip.source)) for clip in group)
        else:
            yield from _read_archive(archive, list(group))


def _archive(source: Path | Member | Entry) -> Path | None:
    return source.archive if isinstance(source, Member) else None


def _decode(source: Path | Member | Entry | BinaryIO) -> Audio | AudioError:
    try:
        if isinstance(source, Entry):
            return read_audio(source.rows.audio(source.index))
        if isinstance(source, Member):
            raise TypeError("members are read with their archive")
        return read_audio(source)
    except AudioError as error:
        return error


def _read_archive(path: Path, clips: Sequence[Clip]) -> Iterator[tuple[Clip, Audio | AudioError]]:
    wanted = {clip.source.name: clip for clip in clips if isinstance(clip.source, Member)}
    try:
        with tarfile.open(path, "r|*") as archive:  # a stream: a member is read once, in order
            for member in archive:
                clip = wanted.pop(member.name.rpartition("/")[2], None)
                content = archive.extractfile(member) if clip is not None else None
                if clip is not None and content is not None:
                    yield clip, _decode(io.BytesIO(content.read()))
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BenchError(f"cannot read {path}: {error}") from error
    if wanted:
        raise BenchError(f"{path} lacks {len(wanted)} of its clips, such as {min(wanted)}")


def _fleurs(where: str, choice: Choice) -> Iterator[Clip]:
    """Yield the clips of a folder of FLEURS, or of languages that the hub has.

    A language has `SPLIT.tsv` (id, file, text as written, text to recognise, …; no head) beside
    the audio in a folder or an archive.
    """
    folder = Path(where)
    if folder.is_dir():
        tables = _tables(folder, choice.split)
    else:
        codes = [code.strip() for code in where.split(",") if code.strip()]
        tables = [fleurs_file(code, f"{choice.split}.tsv") for code in codes]
    for table in tables:
        language = _resolve(table.parent.name, choice)
        if language is not None:
            yield from _fleurs_clips(table, language, is_local=folder.is_dir())


def _fleurs_clips(table: Path, language: str, *, is_local: bool) -> Iterator[Clip]:
    split, code, audio = table.stem, table.parent.name, table.parent / "audio"
    folder = next((path for path in (audio / split, table.parent / split) if path.is_dir()), None)
    archive = audio / f"{split}.tar.gz"
    if folder is None and not archive.is_file():
        if is_local:
            raise BenchError(f"{table} has no audio: {audio / split} and {archive} are not there")
        archive = fleurs_file(code, f"audio/{split}.tar.gz")
    names: set[str] = set()
    for number, line in enumerate(_lines(table), 1):
        cells = line.split("\t")
        if len(cells) < _FLEURS_COLUMNS:
            raise BenchError(f"{table}, line {number}: {len(cells)} columns, not those of FLEURS")
        sentence, name, text = cells[0], cells[1], cells[3]
        if name not in names:  # some tables have a line twice
            names.add(name)
            yield Clip(
                name=f"{code}/{name}",
                source=Member(archive, name) if folder is None else folder / name,
                language=language,
                text=text,
                group=sentence,
            )


def _common_voice(where: str, choice: Choice) -> Iterator[Clip]:
    """Yield the clips of a folder of Common Voice: a language's, or one with their folders.

    A language has `SPLIT.tsv` (client_id, path, sentence, …) and a folder `clips`.
    """
    for table in _tables(Path(where), choice.split):
        rows = read_table(table, ("client_id", "path", "sentence"))
        code = rows[0].get("locale") or table.parent.name
        language = _resolve(code, choice)
        if language is None:
            continue
        for row in rows:
            name = row["path"]
            yield Clip(
                name=f"{code}/{name}",
                source=table.parent / "clips" / name,
                language=language,
                text=row["sentence"],
                group=row["client_id"],
            )


def _table(path: Path, choice: Choice) -> Iterator[Clip]:
    """Yield the clips of a table, of the split wanted if it has the column `split`."""
    for row in read_table(path, ("file", "lang", "text")):
        if row.get("split", choice.split) in (choice.split, _SPLITS.get(choice.split)):
            name = row["file"]
            yield Clip(
                name=name,
                source=path.parent / name,
                language=row["lang"],
                text=row["text"],
                group=row.get("speaker") or name,
            )


def _datasets(where: str, choice: Choice) -> Iterator[Clip]:
    """Yield the clips of a data set of the library `datasets`, of a folder or of the hub."""
    rows = load_rows(where, choice.split)
    (only, *others) = choice.languages or ("",)
    for index, row in enumerate(rows.texts()):
        code = row.language or (only if not others else "")
        if not code:
            raise BenchError(f"{where} names no language: name it with --languages")
        language = _resolve(code, choice)
        if language is not None:
            yield Clip(
                name=f"{where}/{index}",
                source=Entry(rows, index),
                language=language,
                text=row.text,
                group=row.speaker or str(index),
            )


def _resolve(code: str, choice: Choice) -> str | None:
    """Return the models' code of a language, `None` if they do not have it.

    Raises:
        LanguageError: it stands for several of their codes.
    """
    query = FLEURS_CODES.get(code, code)
    return resolve(query, choice.known) if candidates(query, choice.known) else None


def _tables(folder: Path, split: str) -> list[Path]:
    """Return the tables of a split in a folder or in the folders of languages inside."""
    folder = folder.absolute()  # its name may be the language
    for name in filter(None, (split, _SPLITS.get(split))):
        for pattern in (f"{name}.tsv", f"*/{name}.tsv", f"data/*/{name}.tsv"):
            found = sorted(folder.glob(pattern))
            if found:
                return found
    raise BenchError(f"{folder} has no {split}.tsv, nor has a folder of a language in it")


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read {table}: {error}") from error


def _limited(clips: Sequence[Clip], limit: int | None) -> list[Clip]:
    """Return at most so many clips, chosen by a hash of their names, in their order."""
    if limit is None or len(clips) <= limit:
        return list(clips)
    order = sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).digest())
    chosen = {clip.name for clip in order[:limit]}
    return [clip for clip in clips if clip.name in chosen]
