"""Formats of corpora by name, and the detection of them. A reader is loaded with its first use."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Corpus, no_clips
from mms_export.training.corpus.reading import Reader, ReadingOptions


@dataclass(frozen=True, slots=True)
class Format:
    """A format of corpora."""

    module: str
    """Module of its reader, which has a function `read`."""
    in_folder: tuple[str, ...]
    """Patterns of the names, in lower case, that its files have in the folder of a corpus."""
    suffixes: tuple[str, ...]
    """Suffixes of its files, in lower case, for a corpus that is one file."""
    is_tree: bool = False
    """Whether a folder's corpus is all such files at any depth, not one of the first pattern."""


FORMATS: Mapping[str, Format] = {
    "audiofolder": Format("audiofolder", ("metadata.csv", "metadata.jsonl"), (".csv",), True),
    "manifest": Format("manifest", ("manifest.json*", "*manifest*.json*"), (".jsonl", ".json")),
    "table": Format("table", ("validated.tsv", "train.tsv"), (".tsv",)),
    "eaf": Format("eaf", ("*.eaf",), (".eaf",), True),
    "textgrid": Format("textgrid", ("*.textgrid",), (".textgrid",), True),
}
"""Formats of corpora."""


def read_corpus(
    path: Path, *, format_name: str | None = None, options: ReadingOptions | None = None
) -> Corpus:
    """Read the clips of a corpus. No audio is opened.

    Args:
        path: A file of one of `FORMATS`, or a folder with such files.
        format_name: A key of `FORMATS`; `None` to tell it by the names of files.
        options: Choices of the user; `None` for the defaults.

    Raises:
        MmsError: there is no corpus, it is malformed, or none of its parts is a clip.
    """
    if not path.exists():
        raise MmsError(f"{path} does not exist: check the path of the corpus")
    name, files = (_in_folder if path.is_dir() else _of_file)(path, format_name)
    module = importlib.import_module(f"mms_export.training.corpus.{FORMATS[name].module}")
    read: Reader = module.read
    options = options or ReadingOptions()
    parts = [read(file, options) for file in files]
    clips = tuple(clip for part in parts for clip in part.clips)
    skipped = tuple(one for part in parts for one in part.skipped)
    corpus = Corpus(path=path, format=name, clips=clips, skipped=skipped)
    if not corpus.clips:
        raise no_clips(corpus)
    return corpus


def _of_file(path: Path, name: str | None) -> tuple[str, list[Path]]:
    for one, form in FORMATS.items():
        if name == one or (name is None and _is_named(path, form.in_folder)):
            return one, [path]
    for one, form in FORMATS.items():
        if path.suffix.lower() in form.suffixes:
            return one, [path]
    raise MmsError(
        f"{path} is of no known format by its name: choose one with --format, of "
        f"{', '.join(FORMATS)}"
    )


def _in_folder(path: Path, name: str | None) -> tuple[str, list[Path]]:
    candidates = FORMATS if name is None else {name: FORMATS[name]}
    found = {one: files for one, form in candidates.items() if (files := _files(path, form))}
    if len(found) > 1:
        raise MmsError(
            f"{path} holds corpora of several formats, {', '.join(found)}: choose one with --format"
        )
    for one, files in found.items():
        return one, files
    patterns = ", ".join(p for form in candidates.values() for p in form.in_folder)
    raise MmsError(f"{path} holds no corpus: there is no file {patterns} in it")


def _files(folder: Path, form: Format) -> list[Path]:
    """Return the files of a format in a folder.

    Raises:
        MmsError: each would be a corpus of its own.
    """
    if form.is_tree:
        return [path for path in sorted(folder.rglob("*")) if _is_named(path, form.in_folder)]
    for pattern in form.in_folder:
        found = [path for path in sorted(folder.iterdir()) if _is_named(path, (pattern,))]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise MmsError(f"{folder} holds several corpora, {names}: name the file of one")
        if found:
            return found
    return []


def _is_named(path: Path, patterns: Iterable[str]) -> bool:
    name = path.name.lower()
    return any(fnmatchcase(name, pattern) for pattern in patterns) and path.is_file()
